package stack

import (
	"bytes"
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

// ensureKey makes the stack's key pair where there is none. The private half never leaves this machine.
func (s *Stack) ensureKey(ctx context.Context) error {
	path, err := KeyPath(s.name)
	if err != nil {
		return err
	}
	public, err := ownKey(path)
	if err != nil {
		return fmt.Errorf("make the key of stack %s: %w", s.name, err)
	}
	out, err := s.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{s.keyName()}, IncludePublicKey: aws.Bool(true)})
	if err == nil && len(out.KeyPairs) == 1 {
		return s.sameKey(aws.ToString(out.KeyPairs[0].PublicKey), public, path)
	}
	if err != nil && code(err) != "InvalidKeyPair.NotFound" {
		return fmt.Errorf("find key pair %s: %w", s.keyName(), err)
	}
	_, err = s.ec2.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{KeyName: aws.String(s.keyName()), PublicKeyMaterial: ssh.MarshalAuthorizedKey(public), TagSpecifications: s.tagged(types.ResourceTypeKeyPair, s.keyName())})
	if err != nil {
		return fmt.Errorf("import key pair %s: %w", s.keyName(), err)
	}
	s.say("made key pair %s, its private key is %s", s.keyName(), path)
	return nil
}

// sameKey refuses a key pair whose private half is somewhere else: instances would be launched that cannot be entered.
func (s *Stack) sameKey(registered string, own ssh.PublicKey, path string) error {
	theirs, _, _, _, err := ssh.ParseAuthorizedKey([]byte(registered))
	if err != nil {
		return fmt.Errorf("read key pair %s: %w", s.keyName(), err)
	}
	if bytes.Equal(theirs.Marshal(), own.Marshal()) {
		return nil
	}
	return fmt.Errorf("key pair %s belongs to another private key than %s\nhint: copy that key here, or delete the key pair: aws ec2 delete-key-pair --key-name %s", s.keyName(), path, s.keyName())
}

// ownKey reads the private key, or makes it.
func ownKey(path string) (ssh.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		signer, err := ssh.ParsePrivateKey(text)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		return signer.PublicKey(), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "goldsmith")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(pem.Encode(f, block), f.Sync(), f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return ssh.NewPublicKey(public)
}
