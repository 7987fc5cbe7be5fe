package firstboot

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOwnCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	id := Identity{
		InstanceID: "i-1",
		Private:    "10.0.1.5",
		Public:     "192.0.2.7",
		Names:      []string{"ip-10-0-1-5.ec2.internal"},
	}
	first, key, err := ownPair(dir, id)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(first, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"192.0.2.7", "10.0.1.5", "ip-10-0-1-5.ec2.internal"} {
		if err = pair.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if pair.Leaf.VerifyHostname("192.0.2.8") == nil {
		t.Error("it is good for an address that the instance has not")
	}
	again, _, err := ownPair(dir, id)
	if err != nil || string(again) != string(first) {
		t.Errorf("a second boot made another one: %v", err)
	}
	id.Public = "192.0.2.8"
	moved, _, err := ownPair(dir, id)
	if err != nil || string(moved) == string(first) {
		t.Errorf("another address kept the old one: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "web.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
}

func TestSignedByTheStacksAuthority(t *testing.T) {
	ca, caKey := authority(t, time.Now().Add(time.Hour))
	certificate, key, err := SignedCertificate(ca, caKey, Identity{InstanceID: "i-1", Private: "10.0.2.10"})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca))
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "10.0.2.10"}); err != nil {
		t.Error(err)
	}
	old, oldKey := authority(t, time.Now().Add(-time.Hour))
	if _, _, err := SignedCertificate(old, oldKey, Identity{Private: "10.0.2.10"}); err == nil ||
		!strings.Contains(err.Error(), "valid from") {
		t.Errorf("an authority that has expired: %v", err)
	}
	if _, _, err := SignedCertificate(ca, oldKey, Identity{Private: "10.0.2.10"}); err == nil {
		t.Error("a key that is another's was taken")
	}
}

func TestGivenPairMustMatch(t *testing.T) {
	certificate, key := authority(t, time.Now().Add(time.Hour))
	if err := matching([]byte(certificate), []byte(key)); err != nil {
		t.Error(err)
	}
	_, other := authority(t, time.Now().Add(time.Hour))
	if matching([]byte(certificate), []byte(other)) == nil {
		t.Error("another's key was taken")
	}
	old, oldKey := authority(t, time.Now().Add(-time.Minute))
	if matching([]byte(old), []byte(oldKey)) == nil {
		t.Error("an expired one was taken")
	}
}

func TestReportFailsWithOneCheck(t *testing.T) {
	good := check{name: "good", run: func(context.Context) (string, error) { return "fine", nil }}
	bad := check{name: "bad", run: func(context.Context) (string, error) { return "", os.ErrNotExist }}
	if report := once(t.Context(), Instance{}, []check{good}); !report.Ready {
		t.Errorf("got %+v", report)
	}
	report := once(t.Context(), Instance{}, []check{good, bad})
	if report.Ready || report.Checks[1].OK || report.Checks[1].Detail == "" || !report.Checks[0].OK {
		t.Errorf("got %+v", report)
	}
	if got := failures(report); !strings.Contains(got, "bad") || strings.Contains(got, "good") {
		t.Errorf("failures: %s", got)
	}
}

// authority is a certificate authority that is valid until then.
func authority(t *testing.T, until time.Time) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "authority"},
		NotBefore:             until.Add(-3 * time.Hour),
		NotAfter:              until,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}),
	)
}

// ownPair is the instance's own certificate, kept in a directory.
func ownPair(dir string, id Identity) (certificate, key []byte, err error) {
	return ownCertificate(filepath.Join(dir, "web.crt"), filepath.Join(dir, "web.key"), id)
}
