package task

// Facts are the facts that the agent gathers about the machine, in one round trip.
type Facts struct {
	OS   OSFacts `json:"os"`
	Arch string  `json:"arch"` // Go's names: amd64, arm64
	// MemoryMB and CPUs are those of the machine at bake time; an image may run on another size.
	MemoryMB int    `json:"memory_mb"`
	CPUs     int    `json:"cpus"`
	Hostname string `json:"hostname"`
	// Database is the installed database server; nil if there is none.
	Database *DatabaseFacts `json:"database,omitempty"`
	// Candidates maps each package that was asked for to the version apt would install; "" where there is no
	// installable candidate.
	Candidates map[string]string `json:"candidates,omitempty"`
	// Installed maps each package that was asked for and is installed to its version.
	Installed map[string]string `json:"installed,omitempty"`
}

// OSFacts is from os-release.
type OSFacts struct {
	ID       string `json:"id"`                 // debian, ubuntu
	Version  string `json:"version,omitempty"`  // 13, 22.04; empty for sid
	Codename string `json:"codename,omitempty"` // trixie, jammy
	Pretty   string `json:"pretty,omitempty"`
}

// DatabaseFacts names the installed server.
type DatabaseFacts struct {
	Flavor  string `json:"flavor"`  // mysql or mariadb
	Version string `json:"version"` // 8.0.43, 11.8.2
}
