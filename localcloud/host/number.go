package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/durable"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/lockfile"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
)

// A cloud's number is the N of its addresses, 127.66.N.x, and of its names in the kernel. It follows from the cloud's
// name, unless another cloud has that number: there are fewer of them than names. A file beside the clouds' state
// records who has which, so that a cloud keeps its own for as long as it lasts.

// lastNumber is the largest number. The first, 0, is that of the cloud named local alone.
const lastNumber = 250

// Ports beside the one of the API: packagePort is that of a cloud's package cache, and cachePort that of its
// apt-cacher-ng, if it runs one.
const (
	packagePort = 4568
	cachePort   = 4569
)

// ErrBadName says that a cloud cannot have a name.
var ErrBadName = errors.New("1 to 20 lower-case letters, digits and dashes are needed, of which the first is no dash")

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,19}$`)

// CheckName refuses what is no name of a cloud: paths are made of it, as root. Its error is ErrBadName.
func CheckName(name string) error {
	if validName.MatchString(name) {
		return nil
	}
	return fmt.Errorf("cloud name %.60q: %w", name, ErrBadName)
}

// AddressesOf returns the fixed addresses of a cloud: those that it has, or those that it would get if it were opened
// now.
func AddressesOf(config Config) (Addresses, error) {
	if err := CheckName(config.Name); err != nil {
		return Addresses{}, err
	}
	if numberOfName(config.Name) == 0 { // whoever may read the record or not
		return addressesOf(0), nil
	}
	taken, err := readNumbers(config)
	if err != nil {
		return Addresses{}, err
	}
	number, err := taken.of(config, func(uint32) error { return nil })
	return addressesOf(number), err
}

func addressesOf(number uint32) Addresses {
	n := byte(number)
	return Addresses{
		API:          netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 66, n, 1}), 4566),
		PublicPrefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 66, n, 0}), 24),
		Operator:     network.Operator,
		InetAPI:      network.API,
	}
}

// numbers holds the numbers of clouds by their names.
type numbers map[string]uint32

func numbersPath(config Config) string {
	return filepath.Join(filepath.Dir(config.StateDir), "numbers.json")
}

func readNumbers(config Config) (numbers, error) {
	path := numbersPath(config)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return numbers{}, nil
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("find the addresses of cloud %s: %w\n"+
			"hint: start the cloud once with this version, or run this with sudo", config.Name, err)
	case err != nil:
		return nil, fmt.Errorf("find the addresses of cloud %s: %w", config.Name, err)
	}
	all := numbers{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	for name, number := range all {
		if CheckName(name) != nil || number > lastNumber {
			return nil, fmt.Errorf("read %s: cloud %.60q cannot have number %d", path, name, number)
		}
	}
	return all, nil
}

// of returns the number of a cloud. A new one gets the first number, from that of its name on, that no other cloud has
// and for which usable has no error.
func (n numbers) of(config Config, usable func(uint32) error) (uint32, error) {
	if number, ok := n.known(config); ok {
		return number, nil
	}
	first := numberOfName(config.Name)
	taken, err := n.taken(config)
	if err != nil {
		return 0, err
	}
	var unusable error
	for i := range uint32(lastNumber) {
		number := 1 + (first-1+i)%lastNumber
		if taken[number] {
			continue
		}
		if err := usable(number); err == nil {
			return number, nil
		} else if unusable == nil {
			unusable = err
		}
	}
	if unusable != nil {
		return 0, fmt.Errorf("find an address for cloud %s: %w", config.Name, unusable)
	}
	return 0, fmt.Errorf("find an address for cloud %s: other clouds have all %d of them\n"+
		"hint: remove one: goldsmith cloud down --destroy --name NAME", config.Name, lastNumber)
}

// known returns the number that a cloud has, if it has one.
func (n numbers) known(config Config) (uint32, bool) {
	if number, ok := n[config.Name]; ok {
		return number, true
	}
	first := numberOfName(config.Name)
	// A cloud that was made before numbers were recorded has public addresses of its name's number.
	return first, first == 0 || exists(filepath.Join(config.StateDir, "host.json"))
}

// taken returns the numbers that other clouds have, recorded or not.
func (n numbers) taken(config Config) (map[uint32]bool, error) {
	taken := map[uint32]bool{}
	for _, number := range n {
		taken[number] = true
	}
	dir := filepath.Dir(config.StateDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
		return nil, err
	}
	for _, entry := range entries {
		name := entry.Name()
		_, recorded := n[name]
		if !recorded && CheckName(name) == nil && exists(filepath.Join(dir, name, "host.json")) {
			taken[numberOfName(name)] = true
		}
	}
	return taken, nil
}

// numberOfName returns the number that a cloud of this name gets if no other has it.
func numberOfName(name string) uint32 {
	if name == "local" {
		return 0
	}
	return 1 + crc32.ChecksumIEEE([]byte(name))%lastNumber
}

// takeNumber returns the cloud's number, recorded as its own.
func takeNumber(ctx context.Context, config Config) (number uint32, err error) {
	err = changeNumbers(ctx, config, func(all numbers) error {
		if number, err = all.of(config, func(n uint32) error { return checkListening(addressesOf(n)) }); err == nil {
			all[config.Name] = number
		}
		return err
	})
	return number, err
}

// dropNumber forgets a cloud's number.
func dropNumber(ctx context.Context, config Config) error {
	return changeNumbers(ctx, config, func(all numbers) error {
		delete(all, config.Name)
		return nil
	})
}

// changeNumbers changes the record, one process at a time.
func changeNumbers(ctx context.Context, config Config, change func(numbers) error) error {
	path := numbersPath(config)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	unlock, err := lockfile.Lock(waiting, path+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	all, err := readNumbers(config)
	if err != nil {
		return err
	}
	if err = change(all); err != nil {
		return err
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, text, 0o644) // for `goldsmith cloud env` of any user
}

// checkListening refuses addresses that another program listens on.
func checkListening(a Addresses) error {
	for _, port := range []uint16{a.API.Port(), packagePort} {
		at := netip.AddrPortFrom(a.API.Addr(), port)
		listener, err := net.Listen("tcp4", at.String())
		switch {
		case errors.Is(err, unix.EADDRINUSE):
			return fmt.Errorf("another program listens on %s\nhint: see which: sudo ss -ltnp 'sport = :%d'", at, port)
		case err != nil:
			return fmt.Errorf("listen on %s: %w", at, err)
		}
		listener.Close()
	}
	return nil
}
