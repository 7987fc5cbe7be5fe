package api

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

	"golang.org/x/crypto/ssh"
)

// Key pairs are made here and imported into the server behind: what it makes itself would be another key at each
// replay, and it does not tell the public half.

// readKeys finds the public keys in the journal.
func (s *Server) readKeys() {
	for _, e := range s.journal.entries {
		switch e.Call.action() {
		case "ImportKeyPair":
			s.keys[e.Call.get("KeyName")] = publicKeyOf(e.Call)
		case "DeleteKeyPair":
			delete(s.keys, e.Call.get("KeyName"))
		}
	}
}

// publicKeyOf is the line for authorized_keys that an ImportKeyPair call brings; the API has it in base64.
func publicKeyOf(c *call) string {
	line, err := base64.StdEncoding.DecodeString(c.get("PublicKeyMaterial"))
	if err != nil {
		return strings.TrimSpace(c.get("PublicKeyMaterial"))
	}
	return strings.TrimSpace(string(line))
}

func (s *Server) importKeyPair(ctx context.Context, c *call) (*node, error) {
	key := publicKeyOf(c)
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key)); err != nil {
		return nil, fault("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[c.get("KeyName")] = key
	return answered, nil
}

func (s *Server) createKeyPair(ctx context.Context, c *call) (*node, error) {
	if c.get("KeyFormat") == "ppk" {
		return nil, fault("UnsupportedOperation", "the local cloud makes keys in the pem format only")
	}
	private, public, err := makeKey(c.get("KeyType"))
	if err != nil {
		return nil, err
	}
	imported := c.clone()
	imported.drop("KeyType", "KeyFormat")
	imported.set("Action", "ImportKeyPair")
	imported.set("PublicKeyMaterial", base64.StdEncoding.EncodeToString([]byte(public)))
	answered, err := s.importKeyPair(ctx, imported)
	if err != nil {
		return nil, err
	}
	answered.name = "CreateKeyPairResponse"
	answered.set(private, "keyMaterial")
	return answered, nil
}

// makeKey makes a key pair: the private half as EC2 gives it, the public one as a line for authorized_keys.
func makeKey(kind string) (private, public string, err error) {
	var block *pem.Block
	var half any
	switch kind {
	case "ed25519":
		publicKey, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", "", err
		}
		if block, err = ssh.MarshalPrivateKey(key, ""); err != nil {
			return "", "", err
		}
		half = publicKey
	case "", "rsa":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return "", "", err
		}
		block = &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
		half = &key.PublicKey
	default:
		return "", "", fault("InvalidParameterValue", "Value (%s) for parameter KeyType is invalid: rsa and ed25519 are possible", kind)
	}
	key, err := ssh.NewPublicKey(half)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), nil
}

// deleteKeyPair finds the name of a key pair that is named by its id, which the server behind does not.
func (s *Server) deleteKeyPair(ctx context.Context, c *call) (*node, error) {
	c = c.clone()
	if id := c.get("KeyPairId"); id != "" {
		described, err := s.ask(ctx, newCall("ec2", "DescribeKeyPairs"))
		if err != nil {
			return nil, err
		}
		for _, key := range described.items("keySet") {
			if key.get("keyPairId") == id {
				c.set("KeyName", key.get("keyName"))
			}
		}
		c.drop("KeyPairId")
	}
	name := c.get("KeyName")
	if _, ok := s.publicKey(name); !ok {
		return done("DeleteKeyPair"), nil // as EC2 answers for a key pair that is not there
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, name)
	return answered, nil
}

// describeKeyPairs adds what the server behind leaves out, and finds by id.
func (s *Server) describeKeyPairs(ctx context.Context, c *call) (*node, error) {
	ids := c.list("KeyPairId")
	c = c.with("KeyPairId")
	described, err := s.ask(ctx, c)
	if err != nil {
		return nil, err
	}
	set := described.at("keySet")
	var kept []*node
	for _, key := range set.children {
		public, _ := s.publicKey(key.get("keyName"))
		kind := "rsa"
		if strings.HasPrefix(public, "ssh-ed25519 ") {
			kind = "ed25519"
		}
		key.set(kind, "keyType")
		if c.get("IncludePublicKey") == "true" {
			key.set(public, "publicKey")
		}
		if len(ids) == 0 || slices.Contains(ids, key.get("keyPairId")) {
			kept = append(kept, key)
		}
	}
	if len(kept) < len(ids) {
		return nil, fault("InvalidKeyPair.NotFound", "The key pair ID '%s' does not exist", strings.Join(ids, ", "))
	}
	set.children = kept
	return described, nil
}

func (s *Server) publicKey(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok := s.keys[name]
	return key, ok
}

// keyFor is the public key of a launch's key pair.
func (s *Server) keyFor(name string) (string, error) {
	key, ok := s.publicKey(name)
	if !ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		return "", fault("InvalidKeyPair.NotFound", "The key pair '%s' does not exist%s", name, hintOf(slices.Sorted(maps.Keys(s.keys))))
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
