package host

import "path/filepath"

// makeDirs makes the cloud's directories, and takes away from others what an older version left open to them.
func (c Config) makeDirs() error {
	// The programs in base images that run as their owner are for machines, not for this host's users.
	dirs := []string{c.StateDir, c.RunDir, c.baseDir()}
	for _, name := range []string{"volumes", "images", "snapshots", "machines"} {
		dirs = append(dirs, c.dir(name))
	}
	for _, dir := range dirs {
		if err := ownDir(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) dir(name string) string { return filepath.Join(c.StateDir, name) }

func (c Config) statePath() string { return filepath.Join(c.StateDir, "host.json") }

func (c Config) volumePath(id string) string { return filepath.Join(c.dir("volumes"), id+".img") }

func (c Config) snapshotPath(id string) string { return filepath.Join(c.dir("snapshots"), id+".img") }

func (c Config) layerPath(image string) string { return filepath.Join(c.dir("images"), image+".ext4") }

func (c Config) baseDir() string { return filepath.Join(c.CacheDir, "base") }

func (c Config) mountDir() string { return filepath.Join(c.RunDir, "mnt") }

// group names the control group above those of the cloud's machines.
func (c Config) group() string { return "goldsmith-" + c.Name }

// apiMachine names the machine of the API server.
func (c Config) apiMachine() string { return c.group() + "-api" }
