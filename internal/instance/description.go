package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// Places on an instance.
const (
	// AgentPath is the agent that belongs to the image.
	AgentPath = "/usr/local/lib/goldsmith/goldsmith-agent"
	// DescriptionDir holds what the image's provisioners say of what they put in it.
	DescriptionDir = "/etc/goldsmith/image.d"
	// RunDir holds what is made at each boot, secrets among it; it is in memory.
	RunDir = "/run/goldsmith"
	// StateDir holds what is made once for an instance and then kept.
	StateDir = "/var/lib/goldsmith"
)

// MySQLImage describes the database server in an image.
type MySQLImage struct {
	Flavor   string `json:"flavor"` // mysql or mariadb
	Unit     string `json:"unit"`
	Config   string `json:"config"`  // the file with bind-address
	DropDir  string `json:"drop_in"` // where the server reads more configuration
	Port     int    `json:"port"`
	Database string `json:"database"`
	Username string `json:"username"`
	// BindAddress is an address, or instance for the instance's own private one.
	BindAddress string `json:"bind_address"`
	// Log is the file where the server says why it ended.
	Log string `json:"log,omitempty"`
	// Seeded tables must be there for the instance to be ready.
	Seeded bool `json:"seeded"`
}

// NginxImage describes the web server in an image.
type NginxImage struct {
	Unit      string `json:"unit"`
	HTTPPort  int    `json:"http_port"`
	HTTPSPort int    `json:"https_port"`
}

// WebappImage describes the application in an image.
type WebappImage struct {
	Unit     string `json:"unit"`
	Address  string `json:"address"` // where it listens, on loopback
	Database string `json:"database"`
	Username string `json:"username"`
}

// Image is all that an image says of itself; what is not in it is nil.
type Image struct {
	MySQL  *MySQLImage
	Nginx  *NginxImage
	Webapp *WebappImage
}

// ReadImage reads the descriptions in a directory.
func ReadImage(dir string) (Image, error) {
	var image Image
	for name, into := range map[string]any{"mysql": &image.MySQL, "nginx": &image.Nginx, "webapp": &image.Webapp} {
		path := filepath.Join(dir, name+".json")
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Image{}, fmt.Errorf("read the image's description: %w", err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			return Image{}, fmt.Errorf("read the image's description %s: %w", path, err)
		}
	}
	return image, nil
}

// Describe is the task that writes a description into an image.
func Describe(name string, description any) (task.Task, error) {
	text, err := json.MarshalIndent(description, "", "  ")
	if err != nil {
		return task.Task{}, fmt.Errorf("describe %s: %w", name, err)
	}
	return task.Task{Name: "describe " + name, Spec: task.File{Path: filepath.Join(DescriptionDir, name+".json"), Content: task.Bytes(append(text, '\n'))}}, nil
}
