package firstboot

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// lifetime of a certificate that an instance makes itself. It is made anew at a boot that finds it in its last month.
const lifetime = 397 * 24 * time.Hour

// backdated is how long before it is made a certificate is valid: the clock here may be a day ahead of those elsewhere.
const backdated = 48 * time.Hour

// certificateFor is the template of a server's certificate for all addresses and names of an instance.
func certificateFor(id Identity) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	start := time.Now().Add(-backdated)
	c := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: id.InstanceID},
		NotBefore:             start,
		NotAfter:              start.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              id.Names,
	}
	for _, address := range []string{id.Service, id.Public, id.Private} {
		if parsed := net.ParseIP(address); parsed != nil {
			c.IPAddresses = append(c.IPAddresses, parsed)
		}
	}
	return c, nil
}

// issue makes a key and has its certificate signed; without a parent it signs itself.
func issue(template, parent *x509.Certificate, signer crypto.Signer) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, signer = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(
		&pem.Block{Type: "PRIVATE KEY", Bytes: encoded},
	), nil
}

// validityError says that a certificate is not valid now; the cause may be the machine's clock.
type validityError struct {
	what      string
	from, end time.Time
	now       time.Time
}

func (e *validityError) Error() string {
	return fmt.Sprintf("%s is valid from %s to %s, and here it is %s",
		e.what, e.from.Format(time.RFC3339), e.end.Format(time.RFC3339), e.now.Format(time.RFC3339))
}

func validNow(what string, c *x509.Certificate) error {
	if now := time.Now(); now.After(c.NotAfter) || now.Before(c.NotBefore) {
		return &validityError{what, c.NotBefore, c.NotAfter, now.UTC()}
	}
	return nil
}

// SignedCertificate makes a server's key and a certificate for the instance that the given authority signs.
func SignedCertificate(ca, caKey string, id Identity) (certificate, key []byte, err error) {
	authority, err := tls.X509KeyPair([]byte(ca), []byte(caKey))
	if err != nil {
		return nil, nil, fmt.Errorf("read the stack's certificate authority: %w", err)
	}
	parent, err := x509.ParseCertificate(authority.Certificate[0])
	if err != nil {
		return nil, nil, fmt.Errorf("read the stack's certificate authority: %w", err)
	}
	if err = validNow("the stack's authority", parent); err != nil {
		return nil, nil, fmt.Errorf("sign the server's certificate: %w", err)
	}
	template, err := certificateFor(id)
	if err != nil {
		return nil, nil, err
	}
	template.NotBefore = parent.NotBefore
	template.NotAfter = parent.NotAfter
	signer, ok := authority.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, errors.New("read the stack's certificate authority: its key cannot sign")
	}
	return issue(template, parent, signer)
}

// placeCertificate writes the tier's certificate and key for its server: the pair in the tier's parameters, or the
// instance's own. It tells which.
func placeCertificate(b Boot, c imagespec.Certificate) (own bool, err error) {
	certificate, key := []byte(b.Secret("", c.Parameter)), []byte(b.Secret("", c.KeyParameter))
	name, keyName := b.parameter("", c.Parameter), b.parameter("", c.KeyParameter)
	if (len(certificate) == 0) != (len(key) == 0) {
		return false, fmt.Errorf(
			"take the server's certificate from the parameters: of %s and %s only one is there",
			name,
			keyName,
		)
	}
	if own = len(certificate) == 0; own {
		state := filepath.Join(instance.StateDir, "tls")
		certificate, key, err = ownCertificate(filepath.Join(state, filepath.Base(c.Path)),
			filepath.Join(state, filepath.Base(c.KeyPath)), b.Identity)
		if err != nil {
			return own, err
		}
	} else if err := matching(certificate, key); err != nil {
		return own, fmt.Errorf("take the server's certificate from parameter %s: %w", name, err)
	}
	return own, errors.Join(
		WriteFile(c.Path, certificate, 0o644, 0, 0),
		WriteFile(c.KeyPath, key, 0o640, 0, groupOrRoot(c.Group)))
}

// ownCertificate is the certificate that the instance made itself, made now if there is none, or none that is good for
// the addresses that the instance has, or is so for long enough.
func ownCertificate(path, keyPath string, id Identity) (certificate, key []byte, err error) {
	certificate, err = os.ReadFile(path)
	if err == nil {
		key, err = os.ReadFile(keyPath)
	}
	if err == nil && stillGood(certificate, key, id) {
		return certificate, key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	template, err := certificateFor(id)
	if err != nil {
		return nil, nil, err
	}
	if certificate, key, err = issue(template, nil, nil); err != nil {
		return nil, nil, fmt.Errorf("make the server's certificate: %w", err)
	}
	return certificate, key, errors.Join(
		os.MkdirAll(filepath.Dir(path), 0o700),
		WriteFile(keyPath, key, 0o600, 0, 0),
		WriteFile(path, certificate, 0o644, 0, 0))
}

func stillGood(certificate, key []byte, id Identity) bool {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil || pair.Leaf == nil || time.Until(pair.Leaf.NotAfter) < 30*24*time.Hour {
		return false
	}
	for _, address := range []string{id.Service, id.Public, id.Private} {
		if address != "" && pair.Leaf.VerifyHostname(address) != nil {
			return false
		}
	}
	return true
}

// matching returns the error in a pair that somebody else made, if there is one.
func matching(certificate, key []byte) error {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	return validNow("it", pair.Leaf)
}

// Throwaway writes a pair for nobody into memory, path.crt and path.key, so that a server's configuration can be tested
// while an image is baked. The group may read the key.
func Throwaway(path, group string) error {
	template, err := certificateFor(Identity{InstanceID: "throwaway"})
	if err != nil {
		return err
	}
	certificate, key, err := issue(template, nil, nil)
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(filepath.Dir(path), 0o755),
		WriteFile(path+".crt", certificate, 0o644, 0, 0),
		WriteFile(path+".key", key, 0o640, 0, groupOrRoot(group)))
}
