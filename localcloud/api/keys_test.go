package api

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestCreateKeyPair(t *testing.T) {
	for kind, prefix := range map[string]string{"rsa": "ssh-rsa ", "ed25519": "ssh-ed25519 ", "": "ssh-rsa "} {
		t.Run("type "+kind, func(t *testing.T) {
			b := newBackend(t, map[string]func(url.Values) string{
				"ImportKeyPair":    canned("<keyName>k</keyName><keyFingerprint>aa</keyFingerprint><keyPairId>key-00000000000000001</keyPairId>"),
				"DescribeKeyPairs": canned("<keySet><item><keyPairId>key-00000000000000001</keyPairId><keyName>k</keyName></item></keySet>"),
				"DeleteKeyPair":    canned("<return>true</return>"),
			})
			s := newServer(t, b, newMachinery(t))
			made := mustRequest(t, s, "CreateKeyPair", "KeyName", "k", "KeyType", kind)
			signer, err := ssh.ParsePrivateKey([]byte(made.Get("keyMaterial")))
			if err != nil {
				t.Fatal(err)
			}
			public, _ := s.publicKey("k")
			if got := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))); got != public || !strings.HasPrefix(public, prefix) {
				t.Errorf("the private half belongs to %s, instances get %s", got, public)
			}
			for _, e := range s.journal.entries {
				if strings.Contains(string(e.Call.Body), "PRIVATE") {
					t.Error("the private half is in the journal")
				}
			}
			again := newServer(t, b, newMachinery(t))
			again.journal.entries = s.journal.entries
			if again.readKeys(); again.keys["k"] != public {
				t.Errorf("after a restart the key is %q, before %q", again.keys["k"], public)
			}
			described := mustRequest(t, s, "DescribeKeyPairs", "IncludePublicKey", "true")
			if got := described.All("keySet", "*", "publicKey"); len(got) != 1 || got[0] != public {
				t.Errorf("described as %q", got)
			}
			mustRequest(t, s, "DeleteKeyPair", "KeyPairId", "key-00000000000000001")
			if form := b.form("DeleteKeyPair"); form.Get("KeyName") != "k" {
				t.Errorf("the server behind, which knows names only, got %v", form)
			}
			if _, there := s.publicKey("k"); there {
				t.Error("it is still there")
			}
		})
	}
}

func TestBadKeys(t *testing.T) {
	s := newServer(t, newBackend(t, nil), newMachinery(t))
	refused(t, s, "InvalidKey.Format", "ImportKeyPair", "KeyName", "k", "PublicKeyMaterial", base64.StdEncoding.EncodeToString([]byte("no key")))
	refused(t, s, "InvalidParameterValue", "CreateKeyPair", "KeyName", "k", "KeyType", "dsa")
	refused(t, s, "UnsupportedOperation", "CreateKeyPair", "KeyName", "k", "KeyFormat", "ppk")
	mustRequest(t, s, "DeleteKeyPair", "KeyName", "none") // as EC2 does
}
