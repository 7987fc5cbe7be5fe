// Package parameters has a stack's SSM parameters: the secrets that its tiers share, and the parameters of other
// packages. A secret is made once and never read by a deployment.
package parameters

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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// Names of a data tier's parameters, below the stack's path and the tier's name.
const (
	password     = "/app_password"
	authority    = "/ca"
	authorityKey = "/ca_key"
)

// Ensure makes the secrets of each data tier where they are missing: the application's password, and the authority that
// signs the database's certificate. Existing ones stay.
func Ensure(ctx context.Context, s *stack.Stack, act *plan.Actor) error {
	for _, t := range s.Tiers {
		if t.Kind != stack.DataTier {
			continue
		}
		path := s.ParameterPath() + "/" + t.Name
		if err := errors.Join(ensurePassword(ctx, s, act, path+password),
			ensureAuthority(ctx, s, act, path)); err != nil {
			return err
		}
	}
	return nil
}

func ensurePassword(ctx context.Context, s *stack.Stack, act *plan.Actor, name string) error {
	there, err := Get(ctx, s, name)
	if err != nil || there != "" {
		return err
	}
	change := plan.Change{Action: plan.Create, What: "parameter " + name, Reason: plan.Missing}
	return act.Do(change, func() (string, error) {
		if err := Put(ctx, s, name, randomPassword(), types.ParameterTypeSecureString); err != nil {
			return "", err
		}
		s.Logf("made parameter %s", name)
		return name, nil
	})
}

func ensureAuthority(ctx context.Context, s *stack.Stack, act *plan.Actor, path string) error {
	certificate, key := path+authority, path+authorityKey
	text, err := Get(ctx, s, certificate)
	if err != nil || text != "" && !expiresSoon(text) {
		return err
	}
	change := plan.Change{Action: plan.Create, What: "parameter " + certificate, Reason: plan.Missing}
	if text != "" {
		change.Reason = "it expires soon"
		change.Action, change.ID = plan.Replace, certificate
	}
	return act.Do(change, func() (string, error) {
		public, private, err := newAuthority(s.Name)
		if err != nil {
			return "", err
		}
		s.Logf("made parameter %s, the authority for a data tier's certificate", certificate)
		// The key goes first: a key without its certificate is made anew, a certificate without its key would stay.
		return certificate, errors.Join(
			Put(ctx, s, key, private, types.ParameterTypeSecureString),
			Put(ctx, s, certificate, public, types.ParameterTypeString))
	})
}

// Remove deletes the secrets of the data tiers; what is not there is no error.
func Remove(ctx context.Context, s *stack.Stack) error {
	for _, t := range s.Tiers {
		if t.Kind != stack.DataTier {
			continue
		}
		for _, name := range []string{password, authority, authorityKey} {
			if err := Delete(ctx, s, s.ParameterPath()+"/"+t.Name+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Get returns a parameter's value, empty where there is none.
func Get(ctx context.Context, s *stack.Stack, name string) (string, error) {
	value, _, err := GetVersion(ctx, s, name)
	return value, err
}

// GetVersion returns a parameter's value and the number of its version, which is 0 where there is none. A name that
// ends with a colon and a number is of that version.
func GetVersion(ctx context.Context, s *stack.Stack, name string) (value string, version int64, err error) {
	out, err := s.SSM.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name)})
	var missing *types.ParameterNotFound
	if errors.As(err, &missing) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("read parameter %s: %w", name, err)
	}
	return aws.ToString(out.Parameter.Value), out.Parameter.Version, nil
}

// Overwrite writes a text parameter, whether it is there or not, and returns the number of its version: one more than
// that of before.
func Overwrite(ctx context.Context, s *stack.Stack, name, value string) (version int64, err error) {
	return put(ctx, s, name, value, types.ParameterTypeString)
}

// deletedLimit is how long a parameter may not be made again that was deleted: "wait for at least 30 seconds to create
// a parameter with the same name".
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DeleteParameter.html
const deletedLimit = 45 * time.Second

func put(ctx context.Context, s *stack.Stack, name, value string, kind types.ParameterType) (version int64, err error) {
	input := &ssm.PutParameterInput{
		Name:      aws.String(name),
		Value:     aws.String(value),
		Type:      kind,
		Overwrite: aws.Bool(true),
	}
	err = await.Retry(ctx, deletedLimit, awserr.UpdatesMeet, func(ctx context.Context) error {
		out, failed := s.SSM.PutParameter(ctx, input)
		if failed == nil {
			version = out.Version
		}
		return failed
	})
	if err != nil {
		return 0, fmt.Errorf("write parameter %s: %w", name, err)
	}
	return version, nil
}

// Put writes a parameter, whether it is there or not. One that it makes gets the stack's tag, which stays: PutParameter
// takes no tags where it may overwrite.
func Put(ctx context.Context, s *stack.Stack, name, value string, kind types.ParameterType) error {
	version, err := put(ctx, s, name, value, kind)
	if err != nil || version > 1 {
		return err
	}
	_, err = s.SSM.AddTagsToResource(ctx, &ssm.AddTagsToResourceInput{
		ResourceType: types.ResourceTypeForTaggingParameter,
		ResourceId:   aws.String(name),
		Tags:         ownTags(s),
	})
	if err != nil {
		return fmt.Errorf("tag parameter %s: %w", name, err)
	}
	return nil
}

// Claim writes a parameter that nobody has written yet; of several who try, it returns true for one.
func Claim(ctx context.Context, s *stack.Stack, name, value string) (bool, error) {
	_, err := s.SSM.PutParameter(ctx, &ssm.PutParameterInput{
		Name:  aws.String(name),
		Value: aws.String(value),
		Type:  types.ParameterTypeString,
		Tags:  ownTags(s),
	})
	var taken *types.ParameterAlreadyExists
	if errors.As(err, &taken) {
		return false, nil
	}
	return err == nil, err
}

// Delete deletes a parameter; one that is not there is no error.
func Delete(ctx context.Context, s *stack.Stack, name string) error {
	_, err := s.SSM.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String(name)})
	if err != nil && !awserr.Is(err, apierror.ParameterNotFound) {
		return fmt.Errorf("delete parameter %s: %w", name, err)
	}
	return nil
}

// DeleteAll deletes many parameters; those that are not there are no error.
func DeleteAll(ctx context.Context, s *stack.Stack, names []string) error {
	for ; len(names) > 0; names = names[min(10, len(names)):] { // DeleteParameters takes ten at a time
		_, err := s.SSM.DeleteParameters(ctx, &ssm.DeleteParametersInput{Names: names[:min(10, len(names))]})
		if err != nil {
			return fmt.Errorf("delete parameters %s: %w", strings.Join(names, ", "), err)
		}
	}
	return nil
}

// Below are the parameters whose names begin with a path, in deeper levels too.
func Below(ctx context.Context, client *ssm.Client, path string) ([]types.Parameter, error) {
	var all []types.Parameter
	input := &ssm.GetParametersByPathInput{Path: aws.String(path), Recursive: aws.Bool(true)}
	for pages := ssm.NewGetParametersByPathPaginator(client, input); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the parameters below %s: %w", path, err)
		}
		all = append(all, page.Parameters...)
	}
	return all, nil
}

// Limit is the largest size, in characters, of a parameter of the standard tier.
// https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
const Limit = 4096

// Shortened cuts a text to 600 bytes, so that a record with it fits in one parameter even if its JSON needs escapes.
func Shortened(text string) string {
	const most = 600
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

func ownTags(s *stack.Stack) []types.Tag {
	return []types.Tag{{Key: aws.String(stack.StackTag), Value: aws.String(s.Name)}}
}

// randomPassword has more than 200 bits, in characters that need no quoting anywhere. It has one of each kind that
// database servers ask for: capital and small letters, a digit and another character.
func randomPassword() string {
	return rand.Text() + "-" + strings.ToLower(rand.Text()) + "2"
}

// backdated is the time before its creation from which an authority is valid: an instance's clock may be a day behind.
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
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "goldsmith stack " + name},
		NotBefore:             time.Now().Add(-backdated),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})), nil
}
