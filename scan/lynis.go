package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// leastHardening is the hardening index from which Lynis's verdict is good enough, of 100.
const leastHardening = 80

// lynisScript runs Lynis in a directory that is gone afterwards, and prints its report. A container has its host's
// kernel: parameters that it cannot set, and the audit of that kernel, are not asked for there. The check list
// linux-baseline wants the parameters in the configuration all the same, and auditd installed.
const lynisScript = `
set -eu
dir=$(mktemp -d -p /run)
trap 'rm -rf "$dir" /run/lynis.pid' EXIT
tar -C "$dir" -x
cd "$dir"
if systemd-detect-virt --quiet --container; then
  echo "skip-test=ACCT-9628"
  sed -n "s/^config-data=sysctl;\([^;]*\);.*/\1/p" default.prf | while read -r key; do
    file=/proc/sys/$(echo "$key" | tr . /)
    if [ -e "$file" ] && [ ! -w "$file" ]; then echo "skip-test=KRNL-6000:$key"; fi
  done
fi >custom.prf
sh ./lynis audit system --quick --quiet --no-colors --logfile "$dir/log" --report-file "$dir/report" \
  </dev/null >"$dir/out" 2>&1 || true
sed "s/^skip-test=/not_asked[]=/" custom.prf
cat "$dir/report" || { cat "$dir/out" >&2; exit 1; }
`

// lynis has the Lynis of this machine look at the instance from the inside.
func lynis(ctx context.Context, m *machine) (verdict string, found []finding, err error) {
	program, err := lynisTree()
	if err != nil {
		return "", nil, fmt.Errorf("pack Lynis: %w", err)
	}
	report, err := m.root(ctx, lynisScript, program)
	if err != nil {
		return "", nil, err
	}
	return parseLynis(report)
}

// lynisTree is a tar archive of Debian's package, laid out as Lynis wants it in a directory of its own.
func lynisTree() ([]byte, error) {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	add := func(name, from string) error {
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err = archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	}
	for _, file := range []struct{ name, from string }{
		{"lynis", "/usr/sbin/lynis"},
		{"default.prf", "/etc/lynis/default.prf"},
	} {
		if err := add(file.name, file.from); err != nil {
			return nil, err
		}
	}
	for _, tree := range []string{"/usr/share/lynis/include", "/usr/share/lynis/db", "/etc/lynis/plugins"} {
		err := filepath.WalkDir(tree, func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name := path.Join(path.Base(tree), strings.TrimPrefix(file, tree))
			if entry.IsDir() {
				return archive.WriteHeader(&tar.Header{Name: name + "/", Mode: 0o700, Typeflag: tar.TypeDir})
			}
			if !entry.Type().IsRegular() {
				return nil
			}
			return add(name, file)
		})
		if err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// parseLynis reads a report, lines of key=value. Each warning is a finding, and so is an index that is too low.
func parseLynis(report string) (verdict string, found []finding, err error) {
	index, finished, skipped := -1, false, 0
	for line := range strings.Lines(report) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "hardening_index":
			if index, err = strconv.Atoi(value); err != nil {
				return "", nil, fmt.Errorf("read Lynis's hardening index: %w", err)
			}
		case "warning[]":
			id, text, _ := strings.Cut(value, "|")
			found = append(found, finding{id: id, text: strings.Trim(text, "|-")})
		case "not_asked[]":
			skipped++
		case "finish":
			finished = value == "true"
		}
	}
	if index < 0 || !finished {
		return "", nil, fmt.Errorf("lynis has not come to its end: its report has %d bytes", len(report))
	}
	if index < leastHardening {
		found = append(
			found,
			finding{id: "hardening_index", text: fmt.Sprintf("%d, it should be at least %d", index, leastHardening)},
		)
	}
	verdict = fmt.Sprintf("index %d", index)
	if skipped > 0 {
		verdict += fmt.Sprintf(", %d not asked of a container", skipped)
	}
	return verdict, found, nil
}
