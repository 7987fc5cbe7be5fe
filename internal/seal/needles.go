package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
)

// MinimumSecret is the length, in bytes, from which on a value is looked for: a shorter one is found everywhere.
const MinimumSecret = 8

// needle is one form of one secret.
type needle struct {
	secret int // its number in the request; its text is never told
	form   string
	text   []byte
}

// needlesOf are the forms in which a secret may lie on a disk.
func needlesOf(secrets []string) []needle {
	var all []needle
	seen := map[string]bool{}
	for i, secret := range secrets {
		add := func(form, text string) {
			if len(text) >= MinimumSecret && !seen[text] {
				seen[text] = true
				all = append(all, needle{i + 1, form, []byte(text)})
			}
		}
		secret = strings.TrimSpace(secret)
		// Of a key in PEM a line of its body is looked for: headers are everybody's, and the body's start says only its
		// kind.
		if block, _ := pem.Decode([]byte(secret)); block != nil {
			lines := strings.Fields(secret[strings.Index(secret, "-----\n")+6 : strings.LastIndex(secret, "-----END")])
			add("key", lines[len(lines)/2])
			add("DER", string(block.Bytes))
			continue
		}
		if len(secret) < MinimumSecret {
			continue
		}
		add("plain", secret)
		add("hexadecimal", hex.EncodeToString([]byte(secret)))
		add("URL-escaped", url.QueryEscape(secret))
		if text, err := json.Marshal(secret); err == nil {
			add("JSON-escaped", strings.Trim(string(text), `"`))
		}
		add("shell-escaped", strings.ReplaceAll(secret, "'", `'\''`))
		add("quoted", strings.Trim(strconv.Quote(secret), `"`))
		// Base64 of a longer text shows a part of it in one of three shapes, by where it begins.
		for shift := range 3 {
			encoded := base64.StdEncoding.EncodeToString(append(make([]byte, shift), secret...))
			from := []int{0, 2, 3}[shift]
			to := len(encoded) - []int{0, 4, 4}[(len(secret)+shift)%3]
			if to > from {
				add("base64", encoded[from:to])
			}
		}
	}
	return all
}

// search looks for needles in a stream and calls found once for each that is in it.
func search(r io.Reader, needles []needle, found func(needle)) error {
	if len(needles) == 0 {
		return nil
	}
	longest := 0
	for _, n := range needles {
		longest = max(longest, len(n.text))
	}
	buffer := make([]byte, 1<<20+longest)
	done := make([]bool, len(needles))
	held := 0 // bytes at the buffer's start that were read before: a needle may lie across two reads
	for {
		n, err := io.ReadFull(r, buffer[held:])
		window := buffer[:held+n]
		for i, needle := range needles {
			if !done[i] && bytes.Contains(window, needle.text) {
				done[i] = true
				found(needle)
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
		held = copy(buffer, window[len(window)-longest:])
	}
}

func (n needle) String() string { return fmt.Sprintf("secret %d of this build, %s", n.secret, n.form) }
