package stack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// ensureParameters makes the secrets that the tiers share, where they are missing: the application's password, and the
// authority that signs the database's certificate. What is there stays.
func (s *Stack) ensureParameters(ctx context.Context) error {
	password := s.parameters() + "/db/app_password"
	there, err := s.parameter(ctx, password)
	if err != nil {
		return err
	}
	if there == "" {
		if err := s.putParameter(ctx, password, randomPassword(), types.ParameterTypeSecureString); err != nil {
			return err
		}
		s.say("made parameter %s", password)
	}
	certificate, key := s.parameters()+"/db/ca", s.parameters()+"/db/ca_key"
	text, err := s.parameter(ctx, certificate)
	if err != nil {
		return err
	}
	if text != "" && !expiresSoon(text) {
		return nil
	}
	authority, private, err := newAuthority(s.name)
	if err != nil {
		return err
	}
	s.say("made parameter %s, the authority for the database's certificate", certificate)
	// The key goes first: a key without its certificate is made anew, a certificate without its key would stay.
	return errors.Join(s.putParameter(ctx, key, private, types.ParameterTypeSecureString), s.putParameter(ctx, certificate, authority, types.ParameterTypeString))
}

// parameter is a parameter's value, empty where there is none.
func (s *Stack) parameter(ctx context.Context, name string) (string, error) {
	out, err := s.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name)})
	var missing *types.ParameterNotFound
	if errors.As(err, &missing) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read parameter %s: %w", name, err)
	}
	return aws.ToString(out.Parameter.Value), nil
}

func (s *Stack) putParameter(ctx context.Context, name, value string, kind types.ParameterType) error {
	_, err := s.ssm.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String(name), Value: aws.String(value), Type: kind, Overwrite: aws.Bool(true)})
	if err != nil {
		return fmt.Errorf("write parameter %s: %w", name, err)
	}
	_, err = s.ssm.AddTagsToResource(ctx, &ssm.AddTagsToResourceInput{ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: aws.String(name),
		Tags: []types.Tag{{Key: aws.String(stackTag), Value: aws.String(s.name)}}})
	if err != nil {
		return fmt.Errorf("tag parameter %s: %w", name, err)
	}
	return nil
}

// randomPassword has more than 200 bits, in characters that need no quoting anywhere. It has one of each kind that
// database servers ask for: capital and small letters, a digit and another character.
func randomPassword() string {
	return rand.Text() + "-" + strings.ToLower(rand.Text()) + "2"
}

// backdated is how long before it was made an authority is valid: an instance's clock may be a day behind.
const backdated = 48 * time.Hour

func expiresSoon(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return true
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	return err != nil || time.Until(certificate.NotAfter) < 365*24*time.Hour
}

// newAuthority makes a certificate authority for one stack's database.
func newAuthority(name string) (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "goldsmith stack " + name}, NotBefore: time.Now().Add(-backdated), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})), nil
}
