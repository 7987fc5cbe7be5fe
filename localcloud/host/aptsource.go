package host

import (
	"bufio"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// aptHost is what the host's own apt knows of its mirror. Base images take it over, so that the local cloud reaches
// nothing that the host's user has not configured.
type aptHost struct {
	Mirror   string   // the main archive, for example http://mirror.example/debian
	Security string   // the security archive; empty if the host has none
	Proxy    string   // Acquire::http::Proxy; empty for none
	Options  []string // Acquire options about validity, as apt.conf lines
}

// readAptHost reads sources and options of the host.
func readAptHost() (aptHost, error) {
	var files []string
	for _, pattern := range []string{"/etc/apt/sources.list", "/etc/apt/sources.list.d/*.list", "/etc/apt/sources.list.d/*.sources"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return aptHost{}, err
		}
		files = append(files, found...)
	}
	var uris []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return aptHost{}, fmt.Errorf("read apt source: %w", err)
		}
		if strings.HasSuffix(file, ".sources") {
			uris = append(uris, deb822URIs(string(text))...)
		} else {
			uris = append(uris, oneLineURIs(string(text))...)
		}
	}
	host, err := pickMirrors(uris)
	if err != nil {
		return aptHost{}, err
	}
	dump, err := exec.Command("apt-config", "dump").Output()
	if err != nil {
		return aptHost{}, fmt.Errorf("read apt options: apt-config dump: %w", err)
	}
	host.Proxy, host.Options = aptOptions(string(dump))
	return host, nil
}

// pickMirrors tells the main archive from the security one by their paths, which Debian's mirrors keep.
func pickMirrors(uris []string) (aptHost, error) {
	var host aptHost
	for _, uri := range uris {
		parsed, err := url.Parse(uri)
		if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") {
			continue
		}
		uri = strings.TrimSuffix(uri, "/")
		switch {
		case strings.Contains(parsed.Path, "security"):
			if host.Security == "" {
				host.Security = uri
			}
		case host.Mirror == "":
			host.Mirror = uri
		}
	}
	if host.Mirror == "" {
		return aptHost{}, errors.New("find the Debian mirror in the host's apt sources: there is no http or https source; add one to /etc/apt/sources.list.d")
	}
	return host, nil
}

// deb822URIs are the URIs of a .sources file's enabled deb stanzas.
func deb822URIs(text string) []string {
	var uris []string
	for _, stanza := range regexp.MustCompile(`\n[ \t]*\n`).Split(text, -1) {
		fields := map[string]string{}
		for line := range strings.Lines(stanza) {
			key, value, ok := strings.Cut(line, ":")
			if ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, " ") {
				fields[strings.ToLower(key)] = strings.TrimSpace(value)
			}
		}
		if strings.EqualFold(fields["enabled"], "no") || !strings.Contains(" "+fields["types"]+" ", " deb ") {
			continue
		}
		uris = append(uris, strings.Fields(fields["uris"])...)
	}
	return uris
}

// oneLineURIs are the URIs of deb lines.
func oneLineURIs(text string) []string {
	var uris []string
	options := regexp.MustCompile(`\[[^\]]*\]`)
	for line := range strings.Lines(text) {
		fields := strings.Fields(options.ReplaceAllString(line, ""))
		if len(fields) >= 3 && fields[0] == "deb" {
			uris = append(uris, fields[1])
		}
	}
	return uris
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
