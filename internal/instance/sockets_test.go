package instance

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestSockets(t *testing.T) {
	dir := t.TempDir()
	for name, table := range map[string]string{
		"tcp": `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0A02000A:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000   107        0 1 1
   1: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000   107        0 1 1
   2: 0A02000A:0CEA 0501000A:C000 01 00000000:00000000 00:00000000 00000000   107        0 1 1
`,
		"tcp6": "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0 0 0\n",
		"udp":  "   0: 0100007F:0143 00000000:0000 07 0 0 0\n   1: 0100007F:0144 00000000:0000 01 0 0 0\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(table), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sockets, err := Sockets(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range sockets {
		got = append(got, s.String())
	}
	if want := []string{
		"tcp 10.0.2.10:3306",
		"tcp 127.0.0.1:5000",
		"tcp [::]:22",
		"udp 127.0.0.1:323",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q: what listens, and no connection", got, want)
	}
}
