//go:build acceptance

package rig

// Command is a goldsmith-tasks provisioner with one command.
func Command(shell string) string {
	return "provisioner \"goldsmith-tasks\" {\ntask {\nname = \"the task\"\ncommand {\nshell = <<-EOT\n" + shell +
		"\nEOT\n}\n}\n}\n"
}
