package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Ask asks a person for the passphrase of the private key at a path, until the context ends.
type Ask func(ctx context.Context, path string) ([]byte, error)

// attempts is how often a passphrase may be mistyped.
const attempts = 3

// keyring finds the private keys of hops: in their files, or in the user's ssh-agent. Most ways use one key for all
// hops, whose passphrase is asked for once.
type keyring struct {
	ask   Ask
	conn  io.Closer
	agent agent.ExtendedAgent // nil where there is none
	found map[string][]ssh.Signer
}

func newKeyring(ask Ask) *keyring {
	k := &keyring{
		ask:   ask,
		found: map[string][]ssh.Signer{},
	}
	// An agent that cannot be reached is none: the key may need no agent.
	if conn, err := dialAgent(); err == nil {
		k.conn, k.agent = conn, agent.NewClient(conn)
	}
	return k
}

func (k *keyring) close() {
	if k.conn != nil {
		k.conn.Close()
	}
}

func (k *keyring) signers(ctx context.Context, hop Hop) ([]ssh.Signer, error) {
	if found := k.found[hop.Identity]; found != nil {
		return found, nil
	}
	found, err := k.find(ctx, hop)
	if err == nil {
		k.found[hop.Identity] = found
	}
	return found, err
}

func (k *keyring) find(ctx context.Context, hop Hop) ([]ssh.Signer, error) {
	text, err := os.ReadFile(hop.Identity)
	if errors.Is(err, fs.ErrNotExist) {
		if held := k.held(hop.Public); len(held) > 0 {
			return held, nil
		}
		return nil, fmt.Errorf("find the private key: %s is not on this machine, and no ssh-agent has it: %w",
			hop.Identity, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		public := locked.PublicKey
		if public == nil {
			public = hop.Public
		}
		// Without the public half any key of the agent could be meant, and a server takes a few attempts only.
		if public != nil {
			if held := k.held(public); len(held) > 0 {
				return held, nil
			}
		}
		signer, err = k.unlock(ctx, hop.Identity, text)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", hop.Identity, err)
	}
	return []ssh.Signer{signer}, nil
}

// held are the keys that the ssh-agent has of a public one, or all if that is nil.
func (k *keyring) held(public ssh.PublicKey) []ssh.Signer {
	if k.agent == nil {
		return nil
	}
	all, err := k.agent.Signers()
	if err != nil {
		return nil // a locked agent, say: it is as if there were none
	}
	if public == nil {
		return all
	}
	return slices.DeleteFunc(all, func(s ssh.Signer) bool {
		return !bytes.Equal(s.PublicKey().Marshal(), public.Marshal())
	})
}

func (k *keyring) unlock(ctx context.Context, path string, text []byte) (ssh.Signer, error) {
	if k.ask == nil {
		return nil, errors.New("it has a passphrase, and no ssh-agent has the key\nhint: ssh-add " + path)
	}
	for range attempts {
		passphrase, err := k.ask(ctx, path)
		if err != nil {
			return nil, err
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(text, passphrase)
		if err == nil {
			return signer, nil
		}
	}
	return nil, fmt.Errorf("its passphrase is another one\nhint: ssh-add %s", path)
}

// PublicKey is the public half of a private key in a file, which may have a passphrase.
func PublicKey(path string) (ssh.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) && locked.PublicKey != nil {
		return locked.PublicKey, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return signer.PublicKey(), nil
}

// CheckIdentity says whether this machine can log in with the private key at a path: whether it is the one of a public
// key, which may be nil where that is not known, and is in its file or in the user's ssh-agent. It asks no person.
func CheckIdentity(path string, public ssh.PublicKey) error {
	keys := newKeyring(nil)
	defer keys.close()
	has, err := PublicKey(path)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if public != nil && len(keys.held(public)) > 0 {
			return nil
		}
		return fmt.Errorf("%s is not on this machine: %w", path, fs.ErrNotExist)
	case errors.As(err, &locked): // an old format, which shows nothing without the passphrase
		return nil
	case err != nil:
		return err
	case public != nil && !bytes.Equal(has.Marshal(), public.Marshal()):
		return fmt.Errorf("%s is another one", path)
	}
	return nil
}
