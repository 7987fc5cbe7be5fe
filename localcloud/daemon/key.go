package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/durable"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/identity"
)

// The operator's key is made once for a cloud and kept with what the cloud keeps, where root alone can read it. Who
// starts the cloud by sudo gets a copy in the own home.

func keyPath(stateDir string) string { return filepath.Join(stateDir, "operator.json") }

// userKeyPath is the path of a user's copy of a cloud's key.
func userKeyPath(home, name string) string {
	return filepath.Join(home, ".goldsmith", "clouds", name+".json")
}

// operatorKey reads a cloud's key, or makes it. Where the daemon's lock is held, nobody else does so.
func operatorKey(stateDir string) (identity.OperatorKey, error) {
	key, err := readKey(keyPath(stateDir))
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = identity.NewOperatorKey()
	return key, writeKey(keyPath(stateDir), key)
}

// ErrNoKey says that the caller has no key of a cloud.
var ErrNoKey = errors.New("there is no access key of it for this user")

// OperatorKey is the key by which the calling user operates a cloud. The error is ErrNoKey where the user has none.
func OperatorKey(name string) (identity.OperatorKey, error) {
	key, err := findKey(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		err = ErrNoKey
	}
	if err != nil {
		return identity.OperatorKey{}, fmt.Errorf("read the access key of cloud %s: %w", name, err)
	}
	return key, nil
}

func findKey(name string) (identity.OperatorKey, error) {
	config, err := hostConfig(name)
	if err != nil {
		return identity.OperatorKey{}, err
	}
	if key, readErr := readKey(keyPath(config.StateDir)); readErr == nil {
		return key, nil // root
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return identity.OperatorKey{}, err
	}
	return readKey(userKeyPath(home, name))
}

func readKey(path string) (identity.OperatorKey, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return identity.OperatorKey{}, err
	}
	var key identity.OperatorKey
	if err := json.Unmarshal(content, &key); err != nil {
		return identity.OperatorKey{}, fmt.Errorf("read %s: %w", path, err)
	}
	if key.AccessKeyID == "" || key.SecretAccessKey == "" {
		return identity.OperatorKey{}, fmt.Errorf("read %s: it holds no key", path)
	}
	return key, nil
}

// writeKey writes a key for its owner alone.
func writeKey(path string, key identity.OperatorKey) error {
	content, err := json.Marshal(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, content, 0o600)
}

// GiveKey gives the user who became root by sudo a copy of a cloud's key. Without such a user there is nothing to do:
// root reads the key where it is.
func GiveKey(name string) error {
	config, err := hostConfig(name)
	if err != nil {
		return err
	}
	key, err := readKey(keyPath(config.StateDir))
	if err == nil {
		err = asSudoUser(func(home string) error { return writeKey(userKeyPath(home, name), key) })
	}
	if err != nil {
		return fmt.Errorf("give the access key of cloud %s to who called sudo: %w", name, err)
	}
	return nil
}

// TakeKey removes that copy.
func TakeKey(name string) error {
	err := asSudoUser(func(home string) error { return os.Remove(userKeyPath(home, name)) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the access key of cloud %s: %w", name, err)
	}
	return nil
}

// asSudoUser works in the home of the user who became root by sudo, and returns at once where there is none.
func asSudoUser(work func(home string) error) error {
	id := os.Getenv("SUDO_UID")
	if id == "" || id == "0" {
		return nil
	}
	account, err := user.LookupId(id)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return err
	}
	return asUser(uid, gid, func() error { return work(account.HomeDir) })
}

// asUser works on files with a user's rights and no more: in a home anything may be a link to anything. The rights are
// those of a thread, which ends with the work.
func asUser(uid, gid int, work func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock it: a thread with other rights is not to be used again
		err := unix.Setfsgid(gid)
		if err == nil {
			err = unix.Setfsuid(uid)
		}
		if now, _ := unix.SetfsuidRetUid(-1); err == nil && now != uid {
			err = fmt.Errorf("take the rights of user %d: refused", uid)
		}
		if err == nil {
			err = work()
		}
		done <- err
	}()
	return <-done
}
