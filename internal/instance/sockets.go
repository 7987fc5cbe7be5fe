package instance

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Socket is one that takes what comes from elsewhere: a TCP socket that listens, or a UDP socket that is bound.
type Socket struct {
	Protocol string // tcp or udp
	Address  netip.AddrPort
}

// String is the socket as in "tcp 127.0.0.1:5000".
func (s Socket) String() string { return s.Protocol + " " + s.Address.String() }

// Sockets reads them, sorted, from a directory that is as /proc/net.
func Sockets(dir string) ([]Socket, error) {
	var all []Socket
	for _, table := range []struct{ name, protocol, state string }{
		{"tcp", "tcp", "0A"},
		{"tcp6", "tcp", "0A"},
		{"udp", "udp", "07"},
		{"udp6", "udp", "07"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, table.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the sockets: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != table.state {
				continue
			}
			if address, ok := kernelAddress(fields[1]); ok {
				all = append(all, Socket{table.protocol, address})
			}
		}
	}
	slices.SortFunc(all, func(a, b Socket) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.Address.Compare(b.Address))
	})
	return slices.Compact(all), nil
}

// kernelAddress reads an address as proc_net_tcp(5) has it: hexadecimal, each 32 bits of it in the machine's byte
// order.
func kernelAddress(text string) (netip.AddrPort, bool) {
	host, number, _ := strings.Cut(text, ":")
	port, err := strconv.ParseUint(number, 16, 16)
	raw, bad := hex.DecodeString(host)
	if err != nil || bad != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i+4 <= len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	address, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(address, uint16(port)), ok
}
