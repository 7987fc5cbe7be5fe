package parameters

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

func TestAuthorityAndPassword(t *testing.T) {
	certificate, key, err := newAuthority("golden")
	if err != nil || expiresSoon(certificate) || !strings.Contains(key, "PRIVATE KEY") {
		t.Errorf("%v; expires soon: %v", err, expiresSoon(certificate))
	}
	if !expiresSoon("no certificate") {
		t.Error("what is no certificate need not be made anew")
	}
	first, second := randomPassword(), randomPassword()
	if first == second || len(first) < 40 {
		t.Errorf("%q and %q", first, second)
	}
	for _, kind := range []string{"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789", "-"} {
		if !strings.ContainsAny(first, kind) {
			t.Errorf("%q has none of %s, and servers ask for one", first, kind)
		}
	}
	block, _ := pem.Decode([]byte(certificate))
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil || time.Now().Add(-24*time.Hour).Before(authority.NotBefore) {
		t.Errorf("%v: an instance whose clock is a day behind would not take the authority", err)
	}
}
