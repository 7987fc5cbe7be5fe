package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/cgroup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/lockfile"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/nspawn"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/process"
)

// Clear removes what a crashed cloud of this name left outside its own mount namespace. It must not run beside a cloud
// of the same name.
func Clear(ctx context.Context, config Config) error {
	if err := CheckName(config.Name); err != nil {
		return fmt.Errorf("clear: %w", err)
	}
	all, err := readNumbers(config)
	if err != nil {
		return fmt.Errorf("clear: %w", err)
	}
	number, known := all.known(config)
	errs := []error{process.EndMachines(config.mountDir()), forgetMachines(config), cgroup.Remove(config.group())}
	// The table is of the number: one that never was up has neither. An older cloud may share its number with another.
	if known {
		if unlock, lockErr := lockAddresses(config, addressesOf(number)); lockErr == nil {
			defer unlock()
			errs = append(errs, network.DeleteHostTable(ctx, number))
		}
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(config.RunDir))
	if err == nil && len(mounts) > 0 {
		err = errors.New("something is mounted below it")
	}
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("clear %s: %w", config.RunDir, err))...)
	}
	return errors.Join(append(errs, removeDir(config.RunDir))...)
}

// forgetMachines removes what systemd-nspawn has left of machines that ran in the crashed cloud.
func forgetMachines(config Config) error {
	machines, err := os.ReadDir(config.dir("machines"))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	errs := []error{err, nspawn.Forget(config.apiMachine())}
	for _, machine := range machines {
		errs = append(errs, nspawn.Forget(machine.Name()))
	}
	return errors.Join(errs...)
}

// lockAddresses makes sure that no other cloud uses the addresses: one of another record of numbers, or one of a time
// when numbers were not recorded.
func lockAddresses(config Config, addresses Addresses) (unlock func(), err error) {
	name := fmt.Sprintf("%s.lock", addresses.API.Addr())
	lock, err := lockfile.TryLock(filepath.Join(filepath.Dir(config.RunDir), name))
	if errors.Is(err, lockfile.ErrHeld) {
		return nil, fmt.Errorf("open cloud %s: another cloud that is up has its addresses, %s; choose another name",
			config.Name, addresses.PublicPrefix)
	}
	if err != nil {
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// Destroy removes all that a cloud of this name keeps. It must not run beside it.
func Destroy(ctx context.Context, config Config) error {
	if err := Clear(ctx, config); err != nil {
		return err
	}
	return forget(ctx, config)
}

// forget removes what a cloud keeps on disk, and then its number, which another may have from then on.
func forget(ctx context.Context, config Config) error {
	if err := removeDir(config.StateDir); err != nil {
		return err
	}
	return dropNumber(ctx, config)
}

// Exists tells whether there is anything of a cloud of this name, up or down.
func Exists(config Config) (bool, error) {
	if err := CheckName(config.Name); err != nil {
		return false, err
	}
	all, err := readNumbers(config)
	if err != nil {
		return false, err
	}
	_, recorded := all[config.Name]
	return recorded || exists(config.StateDir) || exists(config.RunDir), nil
}
