package instance

// Places on an instance.
const (
	// AgentPath is the agent that belongs to the image.
	AgentPath = "/usr/local/lib/goldsmith/goldsmith-agent"
	// DescriptionDir holds what the image's provisioners say of what they put in it: fragments of package imagespec.
	DescriptionDir = "/etc/goldsmith/image.d"
	// RunDir holds what is made at each boot, secrets among it; it is in memory.
	RunDir = "/run/goldsmith"
	// ReadyDir is ReadyUnit's own, in memory.
	ReadyDir = "/run/goldsmith-ready"
	// StateDir holds what is made once for an instance and then kept.
	StateDir = "/var/lib/goldsmith"
)
