package ec2

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
)

// Key pairs are made here and imported into moto: what it makes itself would be another key at each
// replay, and it does not tell the public half.

// KeyPairs answers the calls for key pairs, and knows their public keys.
type KeyPairs struct {
	moto *moto.Client

	mu     sync.Mutex
	public map[string]string // by name
}

// Handlers answer the calls of EC2 for key pairs that are more than a record.
func (k *KeyPairs) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"CreateKeyPair":    k.create,
		"ImportKeyPair":    k.importKey,
		"DeleteKeyPair":    k.delete,
		"DescribeKeyPairs": k.describe,
	}
}

// Read finds the public keys in the journal.
func (k *KeyPairs) Read() {
	for _, c := range k.moto.Journaled() {
		switch c.Action() {
		case "ImportKeyPair":
			k.public[c.Get("KeyName")] = publicKeyOf(c)
		case "DeleteKeyPair":
			delete(k.public, c.Get("KeyName"))
		}
	}
}

// publicKeyOf is the line for authorized_keys that an ImportKeyPair call brings; the API has it in base64.
func publicKeyOf(c *awsquery.Call) string {
	line, err := base64.StdEncoding.DecodeString(c.Get("PublicKeyMaterial"))
	if err != nil {
		return strings.TrimSpace(c.Get("PublicKeyMaterial"))
	}
	return strings.TrimSpace(string(line))
}

func (k *KeyPairs) importKey(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	key := publicKeyOf(c)
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key)); err != nil {
		return nil, awsquery.Fault(apierror.InvalidKeyFormat)
	}
	answered, err := k.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.public[c.Get("KeyName")] = key
	return answered, nil
}

func (k *KeyPairs) create(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	if c.Get("KeyFormat") == "ppk" {
		return nil, awsquery.Faultf(apierror.UnsupportedOperation, "the local cloud makes keys in the pem format only")
	}
	private, public, err := makeKey(c.Get("KeyType"))
	if err != nil {
		return nil, err
	}
	imported := c.Clone()
	imported.Drop("KeyType", "KeyFormat")
	imported.Set("Action", "ImportKeyPair")
	imported.Set("PublicKeyMaterial", base64.StdEncoding.EncodeToString([]byte(public)))
	answered, err := k.importKey(ctx, imported)
	if err != nil {
		return nil, err
	}
	answered.Name = "CreateKeyPairResponse"
	answered.Set(private, "keyMaterial")
	return answered, nil
}

// makeKey makes a key pair: the private half as EC2 gives it, the public one as a line for authorized_keys.
func makeKey(kind string) (private, public string, err error) {
	var block *pem.Block
	var half any
	switch kind {
	case "ed25519":
		var key ed25519.PrivateKey
		if half, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
			return "", "", err
		}
		if block, err = ssh.MarshalPrivateKey(key, ""); err != nil {
			return "", "", err
		}
	case "", "rsa":
		var key *rsa.PrivateKey
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return "", "", err
		}
		block = &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
		half = &key.PublicKey
	default:
		return "", "", awsquery.Fault(apierror.InvalidValue, kind, "KeyType").Adding("It is rsa or ed25519.")
	}
	key, err := ssh.NewPublicKey(half)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), nil
}

// delete finds the name of a key pair that is named by its id, which moto does not.
func (k *KeyPairs) delete(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	c = c.Clone()
	if id := c.Get("KeyPairId"); id != "" {
		described, err := k.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeKeyPairs"))
		if err != nil {
			return nil, err
		}
		for _, key := range described.Items("keySet") {
			if key.Get("keyPairId") == id {
				c.Set("KeyName", key.Get("keyName"))
			}
		}
		c.Drop("KeyPairId")
	}
	name := c.Get("KeyName")
	if _, ok := k.publicKey(name); !ok {
		return awsquery.Done("DeleteKeyPair"), nil // as EC2 answers for a key pair that is not there
	}
	answered, err := k.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.public, name)
	return answered, nil
}

// describe adds what moto leaves out, and finds by id.
func (k *KeyPairs) describe(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	ids := c.List("KeyPairId")
	c = c.With("KeyPairId")
	described, err := k.moto.Ask(ctx, c)
	if err != nil {
		return nil, err
	}
	set := described.At("keySet")
	var kept []*awsquery.Node
	for _, key := range set.Children {
		public, _ := k.publicKey(key.Get("keyName"))
		kind := "rsa"
		if strings.HasPrefix(public, "ssh-ed25519 ") {
			kind = "ed25519"
		}
		key.Set(kind, "keyType")
		if c.Get("IncludePublicKey") == "true" {
			key.Set(public, "publicKey")
		}
		if len(ids) == 0 || slices.Contains(ids, key.Get("keyPairId")) {
			kept = append(kept, key)
		}
	}
	if len(kept) < len(ids) {
		return nil, awsquery.Fault(apierror.InvalidKeyPairIDNotFound, strings.Join(ids, ", "))
	}
	set.Children = kept
	return described, nil
}

func (k *KeyPairs) publicKey(name string) (string, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.public[name]
	return key, ok
}

// Find is the public key of a launch's key pair.
func (k *KeyPairs) Find(name string) (string, error) {
	key, ok := k.publicKey(name)
	if !ok {
		k.mu.Lock()
		defer k.mu.Unlock()
		return "", awsquery.Fault(apierror.InvalidKeyPairNotFound, name).
			Adding("%s", hintOf(slices.Sorted(maps.Keys(k.public))))
	}
	return key, nil
}

// hintOf lists what there is, if that is little enough to be of use.
func hintOf(names []string) string {
	if len(names) == 0 || len(names) > 10 {
		return ""
	}
	return fmt.Sprintf(" (there are: %s)", strings.Join(names, ", "))
}
