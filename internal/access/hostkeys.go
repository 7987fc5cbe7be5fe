package access

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// hostKeyLine is a public key as ssh(1) writes it; the console may have something before it.
var hostKeyLine = regexp.MustCompile(`(?:ssh-[a-z0-9]+|ecdsa-sha2-nistp[0-9]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]+=*`)

// HostKeys are the keys that an instance printed on its console: those between its marks, of the last such block that
// is whole. A console is torn by what the kernel says, begins anywhere, and has a block of each boot.
func HostKeys(console []byte) []string {
	blocks := strings.Split(string(console), instance.HostKeysBegin)
	for _, block := range slices.Backward(blocks[1:]) {
		text, _, whole := strings.Cut(block, instance.HostKeysEnd)
		if !whole {
			continue
		}
		if keys := keysIn(text); len(keys) > 0 {
			return keys
		}
	}
	return nil
}

// keysIn are the whole keys in a text, each once.
func keysIn(text string) []string {
	var keys []string
	for line := range strings.Lines(text) {
		key := hostKeyLine.FindString(line)
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key)); err == nil && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// algorithms are those by which a server can prove that it has the keys. RSA keys are of the type ssh-rsa, which is
// also the name of a signature with SHA-1 that servers do not make any more.
func algorithms(keys []string) []string {
	var list []string
	for _, line := range keys {
		switch algorithm, _, _ := strings.Cut(line, " "); algorithm {
		case ssh.KeyAlgoRSA:
			list = append(list, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			list = append(list, algorithm)
		}
	}
	return list
}

// pinned accepts the keys that the console showed.
func pinned(lines []string) ssh.HostKeyCallback {
	return func(name string, _ net.Addr, key ssh.PublicKey) error {
		for _, line := range lines {
			known, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
			if err == nil && bytes.Equal(known.Marshal(), key.Marshal()) {
				return nil
			}
		}
		return fmt.Errorf("the host key of %s, %s, is not one that the instance printed on its console",
			name, ssh.FingerprintSHA256(key))
	}
}
