package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// webName is the web tier's DNS name in the throwaway certificate, besides its address. No name is looked up.
const webName = "web.goldsmith.test"

// pairs is the directory of the web tier's certificate and key: in memory, made at each boot.
const pairs = "/run/goldsmith/tls"

// underAuthority has the web tier serve a certificate of a throwaway authority while use runs, and gives use the path
// of the authority's certificate. Judges take an authority of their own for what it is, and a certificate that an
// instance signed itself for a fault; the image is the same.
func underAuthority(ctx context.Context, m *machine, use func(dir, ca string) error) (err error) {
	ca, pair, err := throwawayPair(m.public)
	if err != nil {
		return fmt.Errorf("make a throwaway certificate: %w", err)
	}
	dir, err := os.MkdirTemp("", "goldsmith-scan-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ca.crt")
	if err = os.WriteFile(path, ca, 0o600); err != nil {
		return err
	}
	// The old pair is kept beside it until it is back: also in memory, and gone at the next boot.
	const swap = `set -e; cd ` + pairs + `; umask 077; pair=$(cat); cp -p web.crt own.crt; cp -p web.key own.key
		echo "$pair" | sed -n "/BEGIN CERTIFICATE/,/END CERTIFICATE/p" >web.crt
		echo "$pair" | sed -n "/BEGIN PRIVATE/,/END PRIVATE/p" >web.key
		systemctl reload nginx.service`
	const back = `set -e; cd ` + pairs +
		`; [ ! -e own.key ] || { mv own.crt web.crt; mv own.key web.key; systemctl reload nginx.service; }`
	defer func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if _, undo := m.root(within, back, nil); undo != nil {
			err = errors.Join(
				err,
				fmt.Errorf("put the web tier's own certificate back (a reboot of it does): %w", undo),
			)
		}
	}()
	if _, err := m.root(ctx, swap, pair); err != nil {
		return fmt.Errorf("have the web tier serve a throwaway certificate: %w", err)
	}
	if err := served(ctx, m.public, ca); err != nil {
		return err
	}
	return use(dir, path)
}

// served waits until the web tier shows a certificate of this authority.
func served(ctx context.Context, address string, ca []byte) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: webName}}
	for {
		connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address, "443"))
		if err == nil {
			return connection.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the throwaway certificate to be served: %w", errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// throwawayPair is an authority's certificate, and a server's certificate by it with its key, as a public authority
// would make it: for 90 days, with a place to ask whether it was revoked. Nobody asks there.
func throwawayPair(address string) (ca, pair []byte, err error) {
	start := time.Now().Add(-time.Hour)
	serial := make([]byte, 16)
	rand.Read(serial)
	serial[0] &= 0x7f
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Goldsmith throwaway authority"},
		NotBefore:             start,
		NotAfter:              start.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	server := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: webName},
		NotBefore:             start,
		NotAfter:              start.AddDate(0, 0, 90),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{webName},
		IPAddresses:           []net.IP{net.ParseIP(address)},
		CRLDistributionPoints: []string{"http://crl.goldsmith.test/ca.crl"},
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey,
		authorityKey)
	if err != nil {
		return nil, nil, err
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, authority, &serverKey.PublicKey, authorityKey)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		return nil, nil, err
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return block("CERTIFICATE", authorityDER), append(
		block("CERTIFICATE", serverDER),
		block("PRIVATE KEY", keyDER)...), nil
}
