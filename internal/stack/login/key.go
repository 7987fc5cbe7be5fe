// Package login has the way into a stack's instances over SSH: the key pair, the route by way of a public instance,
// and the host keys, which an instance prints on its console.
package login

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// KeyName is the name of the stack's key pair.
func KeyName(s *stack.Stack) string { return "goldsmith-" + s.Name }

// KeyPath is the path of the private key for SSH to a stack's instances.
func KeyPath(name string) (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".goldsmith", name+".pem"), nil
}

// EnsureKey makes the stack's key pair where there is none. The private half never leaves the machine that made it, so
// another one, a colleague's or a build runner, goes without: a key that it made would open nothing.
func EnsureKey(ctx context.Context, s *stack.Stack, act *plan.Actor) error {
	path, err := KeyPath(s.Name)
	if err != nil {
		return err
	}
	registered, err := registeredKey(ctx, s)
	if err != nil {
		return err
	}
	if registered == nil {
		change := plan.Change{Action: plan.Create, What: "key pair " + KeyName(s), Reason: plan.Missing}
		return act.Do(change, func() (string, error) { return KeyName(s), importKey(ctx, s, path) })
	}
	if err := access.CheckIdentity(path, registered); err != nil && !act.Dry() {
		s.Logf("%v: no instance can be entered from here, and a data tier that is replaced is stopped with its "+
			"instance, which takes longer", keyFault(s, err))
	}
	return nil
}

func importKey(ctx context.Context, s *stack.Stack, path string) error {
	public, made, err := ownKey(path)
	if err != nil {
		return fmt.Errorf("make the key of stack %s: %w", s.Name, err)
	}
	_, err = s.EC2.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{
		KeyName:           aws.String(KeyName(s)),
		PublicKeyMaterial: ssh.MarshalAuthorizedKey(public),
		TagSpecifications: s.TagsFor(types.ResourceTypeKeyPair, KeyName(s)),
	})
	if err != nil {
		if made { // it opens nothing: somebody else may have been first
			err = errors.Join(err, os.Remove(path))
		}
		return fmt.Errorf("import key pair %s: %w", KeyName(s), err)
	}
	s.Logf("made key pair %s, its private key is %s", KeyName(s), path)
	return nil
}

// RemoveKey deletes the key pair; the private key stays. One that is not there is not deleted: who may delete those
// with Goldsmith's tags would be refused.
func RemoveKey(ctx context.Context, s *stack.Stack) error {
	found, err := keyPair(ctx, s)
	if err != nil || found == nil {
		return err
	}
	_, err = s.EC2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String(KeyName(s))})
	if err != nil && !awserr.Is(err, apierror.InvalidKeyPairNotFound) {
		return fmt.Errorf("delete key pair %s: %w", KeyName(s), err)
	}
	return nil
}

// keyPair is the stack's key pair, nil where EC2 has none.
func keyPair(ctx context.Context, s *stack.Stack) (*types.KeyPairInfo, error) {
	out, err := s.EC2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{
		KeyNames:         []string{KeyName(s)},
		IncludePublicKey: aws.Bool(true),
	})
	if awserr.Is(err, apierror.InvalidKeyPairNotFound) || err == nil && len(out.KeyPairs) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find key pair %s: %w", KeyName(s), err)
	}
	return &out.KeyPairs[0], nil
}

// registeredKey is the public half of the stack's key pair, nil where EC2 has none.
func registeredKey(ctx context.Context, s *stack.Stack) (ssh.PublicKey, error) {
	found, err := keyPair(ctx, s)
	if err != nil || found == nil {
		return nil, err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(aws.ToString(found.PublicKey)))
	if err != nil {
		return nil, fmt.Errorf("read key pair %s: %w", KeyName(s), err)
	}
	return public, nil
}

// CheckKey says whether this machine, or its user's ssh-agent, has the private key that the stack's instances are
// entered with.
func CheckKey(ctx context.Context, s *stack.Stack) error {
	path, err := KeyPath(s.Name)
	if err != nil {
		return err
	}
	// Who may not ask EC2 for it, and whose pair was deleted, can have the key all the same.
	registered, err := registeredKey(ctx, s)
	if err != nil {
		registered = nil
	}
	if err := access.CheckIdentity(path, registered); err != nil {
		return fmt.Errorf("%w\nhint: copy it from the machine of the stack's first deployment: scp "+
			"THAT-MACHINE:.goldsmith/%s.pem %s",
			keyFault(s, err), s.Name, path)
	}
	return nil
}

func keyFault(s *stack.Stack, err error) error {
	return fmt.Errorf("use the private key of key pair %s: %w", KeyName(s), err)
}

// ownKey reads the private key, or makes it.
func ownKey(path string) (public ssh.PublicKey, made bool, err error) {
	public, err = access.PublicKey(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return public, false, err
	}
	edPublic, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, false, err
	}
	block, err := ssh.MarshalPrivateKey(private, "goldsmith")
	if err != nil {
		return nil, false, err
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, false, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err = errors.Join(pem.Encode(f, block), f.Sync(), f.Close()); err != nil {
		return nil, false, errors.Join(err, os.Remove(path))
	}
	public, err = ssh.NewPublicKey(edPublic)
	return public, true, err
}
