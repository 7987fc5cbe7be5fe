package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/status"
)

func openCommand() *cobra.Command {
	var a account
	var browser bool
	open := &cobra.Command{
		Use:   "open",
		Short: "Print where the page is, or open it in a browser",
		Args:  cobra.NoArgs,
		Long: `Prints the page's URL, and the SHA-256 of the certificate that the instance behind it made and
reported on its console: a browser that warns of it shows the same digest. With --browser it is
opened in one, too.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith open\n  curl --insecure $(goldsmith open --stack golden | head -1)health",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			url, fingerprint, err := status.Page(cmd.Context(), s)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), url)
			if fingerprint != "" {
				fmt.Fprintln(cmd.OutOrStdout(), "certificate (made by the instance): sha256 "+fingerprint)
			}
			if !browser {
				return nil
			}
			return browse(cmd.Context(), url)
		},
	}
	a.flags(open)
	open.Flags().BoolVar(&browser, "browser", false, "open it in a browser, too")
	return open
}

// opener is the program, with its first arguments, by which an operating system opens a page.
func opener(system string) []string {
	switch system {
	case "darwin":
		return []string{"open"}
	case "windows":
		return []string{"rundll32", "url.dll,FileProtocolHandler"}
	}
	return []string{"xdg-open"}
}

// browse opens a page in a browser. The opener's exit code is not passed on, and so its error not wrapped: a 3 of
// xdg-open is no call for a person.
func browse(ctx context.Context, url string) error {
	program := opener(runtime.GOOS)
	out, err := exec.CommandContext(ctx, program[0], append(program[1:], url)...).CombinedOutput()
	if err == nil {
		return nil
	}
	said, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return fmt.Errorf("open %s by %s: %v: %s\nhint: open it in a browser yourself", url, program[0], err, said)
}
