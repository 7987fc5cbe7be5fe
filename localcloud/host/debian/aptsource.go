package debian

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// Apt says what the host's own apt knows of its mirror. Base images take it over, so that the local cloud reaches
// nothing that the host's user has not configured.
type Apt struct {
	Mirror   string   // the main archive, for example http://mirror.example/debian
	Security string   // the security archive; empty if the host has none
	Proxy    string   // Acquire::http::Proxy; empty for none
	Options  []string // Acquire options about validity, as apt.conf lines
}

// ReadApt reads sources and options of the host.
func ReadApt() (Apt, error) {
	var files []string
	for _, pattern := range []string{
		"/etc/apt/sources.list",
		"/etc/apt/sources.list.d/*.list",
		"/etc/apt/sources.list.d/*.sources",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return Apt{}, err
		}
		files = append(files, found...)
	}
	var sources []source
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return Apt{}, fmt.Errorf("read apt source: %w", err)
		}
		if strings.HasSuffix(file, ".sources") {
			sources = append(sources, deb822Sources(string(text))...)
		} else {
			sources = append(sources, oneLineSources(string(text))...)
		}
	}
	host, err := pickMirrors(sources)
	if err != nil {
		return Apt{}, err
	}
	dump, err := exec.Command("apt-config", "dump").Output()
	if err != nil {
		return Apt{}, fmt.Errorf("read apt options: apt-config dump: %w", err)
	}
	host.Proxy, host.Options = aptOptions(string(dump))
	return host, nil
}

// source is an archive that the host uses.
type source struct {
	uri  string
	main bool // the component main is among those that are used
}

// pickMirrors finds Debian's archives among all sources. Others may be there, some of them below a directory debian
// too; so /debian itself goes first.
func pickMirrors(sources []source) (Apt, error) {
	var host Apt
	var elsewhere string
	for _, from := range sources {
		parsed, err := url.Parse(from.uri)
		if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || !from.main {
			continue
		}
		uri, dir := strings.TrimSuffix(from.uri, "/"), strings.TrimSuffix(parsed.Path, "/")
		switch {
		case path.Base(dir) == "debian-security" && host.Security == "":
			host.Security = uri
		case dir == "/debian" && host.Mirror == "":
			host.Mirror = uri
		case path.Base(dir) == "debian" && elsewhere == "":
			elsewhere = uri
		}
	}
	host.Mirror = cmp.Or(host.Mirror, elsewhere)
	if host.Mirror == "" {
		return Apt{}, errors.New("find the Debian mirror in the host's apt sources: " +
			"there is none over http or https whose path ends in /debian; add one to /etc/apt/sources.list.d")
	}
	return host, nil
}

// deb822Sources are the enabled deb stanzas of a .sources file.
func deb822Sources(text string) []source {
	var sources []source
	for _, stanza := range regexp.MustCompile(`\n[ \t]*\n`).Split(text, -1) {
		fields := deb822Fields(stanza)
		enabled := strings.ToLower(strings.Join(fields["enabled"], ""))
		if slices.Contains([]string{"no", "false", "0"}, enabled) || !slices.Contains(fields["types"], "deb") {
			continue
		}
		for _, uri := range fields["uris"] {
			sources = append(sources, source{uri, slices.Contains(fields["components"], "main")})
		}
	}
	return sources
}

// deb822Fields are the words of a stanza's fields; a line that begins with a space continues the one above.
func deb822Fields(stanza string) map[string][]string {
	fields := map[string][]string{}
	var key string
	for line := range strings.Lines(stanza) {
		value := line
		switch {
		case strings.HasPrefix(line, "#"):
			continue
		case !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t"):
			var name string
			name, value, _ = strings.Cut(line, ":")
			key = strings.ToLower(strings.TrimSpace(name))
		}
		fields[key] = append(fields[key], strings.Fields(value)...)
	}
	return fields
}

// oneLineSources are the deb lines of a .list file.
func oneLineSources(text string) []source {
	var sources []source
	options := regexp.MustCompile(`\[[^\]]*\]`)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(options.ReplaceAllString(line, ""))
		if len(fields) >= 3 && fields[0] == "deb" {
			sources = append(sources, source{fields[1], slices.Contains(fields[3:], "main")})
		}
	}
	return sources
}

// aptOptions picks the proxy and the options that say when a mirror's index counts as valid.
func aptOptions(dump string) (proxy string, options []string) {
	scanner := bufio.NewScanner(strings.NewReader(dump))
	for scanner.Scan() {
		key, value, ok := strings.Cut(strings.TrimSuffix(scanner.Text(), ";"), " ")
		if !ok {
			continue
		}
		value = strings.Trim(value, `"`)
		switch {
		case key == "Acquire::http::Proxy":
			proxy = value
		case strings.HasPrefix(key, "Acquire::Check-") && value != "":
			options = append(options, fmt.Sprintf("%s %q;", key, value))
		}
	}
	sort.Strings(options)
	return proxy, options
}

// plain is a mirror's address as machines use it: the package cache sees through what is not encrypted, and does the
// encrypting towards an https mirror itself. Packages are signed anyway.
func plain(uri string) string {
	if rest, ok := strings.CutPrefix(uri, "https://"); ok {
		return "http://" + rest
	}
	return uri
}
