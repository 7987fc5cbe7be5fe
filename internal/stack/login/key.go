package stack

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
)

func (s *Stack) keyName() string { return "goldsmith-" + s.name }

// KeyPath is where the private key lies with which the stack's instances are entered.
func KeyPath(stack string) (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".goldsmith", stack+".pem"), nil
}

// ensureKey makes the stack's key pair where there is none. The private half never leaves the machine that made it, so
// another one, a colleague's or a build runner, goes without: a key that it made would open nothing.
func (s *Stack) ensureKey(ctx context.Context) error {
	path, err := KeyPath(s.name)
	if err != nil {
		return err
	}
	registered, err := s.registeredKey(ctx)
	if err != nil {
		return err
	}
	if registered != nil {
		if err := access.CheckIdentity(path, registered); err != nil {
			s.say("%v: no instance can be entered from here, and a database that is replaced is stopped with its instance,"+
				" which takes longer", s.keyFault(err))
		}
		return nil
	}
	public, made, err := ownKey(path)
	if err != nil {
		return fmt.Errorf("make the key of stack %s: %w", s.name, err)
	}
	_, err = s.ec2.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{
		KeyName:           aws.String(s.keyName()),
		PublicKeyMaterial: ssh.MarshalAuthorizedKey(public),
		TagSpecifications: s.tagged(types.ResourceTypeKeyPair, s.keyName()),
	})
	if err != nil {
		if made { // it opens nothing: somebody else may have been first
			err = errors.Join(err, os.Remove(path))
		}
		return fmt.Errorf("import key pair %s: %w", s.keyName(), err)
	}
	s.say("made key pair %s, its private key is %s", s.keyName(), path)
	return nil
}

// registeredKey is the public half of the stack's key pair, nil where EC2 has none.
func (s *Stack) registeredKey(ctx context.Context) (ssh.PublicKey, error) {
	out, err := s.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{
		KeyNames:         []string{s.keyName()},
		IncludePublicKey: aws.Bool(true),
	})
	if code(err) == "InvalidKeyPair.NotFound" || err == nil && len(out.KeyPairs) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find key pair %s: %w", s.keyName(), err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(aws.ToString(out.KeyPairs[0].PublicKey)))
	if err != nil {
		return nil, fmt.Errorf("read key pair %s: %w", s.keyName(), err)
	}
	return public, nil
}

// CheckKey says whether this machine, or its user's ssh-agent, has the private key that the stack's instances are
// entered with.
func (s *Stack) CheckKey(ctx context.Context) error {
	path, err := KeyPath(s.name)
	if err != nil {
		return err
	}
	// Who may not ask EC2 for it, and whose pair was deleted, can have the key all the same.
	registered, err := s.registeredKey(ctx)
	if err != nil {
		registered = nil
	}
	if err := access.CheckIdentity(path, registered); err != nil {
		return fmt.Errorf("%w\nhint: copy it from the machine of the stack's first deployment: scp THAT-MACHINE:.goldsmith/%s.pem %s",
			s.keyFault(err), s.name, path)
	}
	return nil
}

func (s *Stack) keyFault(err error) error {
	return fmt.Errorf("use the private key of key pair %s: %w", s.keyName(), err)
}

// ownKey reads the private key, or makes it.
func ownKey(path string) (public ssh.PublicKey, made bool, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		signer, err := ssh.ParsePrivateKey(text)
		if err != nil {
			return nil, false, fmt.Errorf("read %s: %w", path, err)
		}
		return signer.PublicKey(), false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	edPublic, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, false, err
	}
	block, err := ssh.MarshalPrivateKey(private, "goldsmith")
	if err != nil {
		return nil, false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, false, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := errors.Join(pem.Encode(f, block), f.Sync(), f.Close()); err != nil {
		return nil, false, errors.Join(err, os.Remove(path))
	}
	public, err = ssh.NewPublicKey(edPublic)
	return public, true, err
}
