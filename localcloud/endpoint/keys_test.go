package endpoint

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
)

func TestCreateKeyPair(t *testing.T) {
	for kind, prefix := range map[string]string{"rsa": "ssh-rsa ", "ed25519": "ssh-ed25519 ", "": "ssh-rsa "} {
		t.Run("type "+kind, func(t *testing.T) {
			b := mototest.New(t, map[string]func(url.Values) string{
				"ImportKeyPair": mototest.Canned(
					"<keyName>k</keyName><keyFingerprint>aa</keyFingerprint>" +
						"<keyPairId>key-00000000000000001</keyPairId>",
				),
				"DescribeKeyPairs": mototest.Canned(
					"<keySet><item><keyPairId>key-00000000000000001</keyPairId><keyName>k</keyName></item></keySet>"),
				"DeleteKeyPair": mototest.Canned("<return>true</return>"),
			})
			s := newServer(t, b, newMachinery(t))
			made := mustRequest(t, s, "CreateKeyPair", "KeyName", "k", "KeyType", kind)
			signer, err := ssh.ParsePrivateKey([]byte(made.Get("keyMaterial")))
			if err != nil {
				t.Fatal(err)
			}
			public, _ := s.compute.KeyPairs.Find("k")
			if got := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))); got != public ||
				!strings.HasPrefix(public, prefix) {
				t.Errorf("the private half belongs to %s, instances get %s", got, public)
			}
			for _, c := range s.moto.Journaled() {
				if strings.Contains(string(c.Body), "PRIVATE") {
					t.Error("the private half is in the journal")
				}
			}
			again := newServer(t, b, newMachinery(t))
			if err := again.moto.Open(journalPath(s)); err != nil {
				t.Fatal(err)
			}
			again.compute.KeyPairs.Read()
			if found, err := again.compute.KeyPairs.Find("k"); found != public || err != nil {
				t.Errorf("after a restart the key is %q, %v, before %q", found, err, public)
			}
			described := mustRequest(t, s, "DescribeKeyPairs", "IncludePublicKey", "true")
			if got := described.All("keySet", "*", "publicKey"); len(got) != 1 || got[0] != public {
				t.Errorf("described as %q", got)
			}
			mustRequest(t, s, "DeleteKeyPair", "KeyPairId", "key-00000000000000001")
			if form := b.Form("DeleteKeyPair"); form.Get("KeyName") != "k" {
				t.Errorf("moto, which knows names only, got %v", form)
			}
			if _, err := s.compute.KeyPairs.Find("k"); err == nil {
				t.Error("it is still there")
			}
		})
	}
}

func TestBadKeys(t *testing.T) {
	s := newServer(t, mototest.New(t, nil), newMachinery(t))
	refused(t, s, "InvalidKey.Format", "ImportKeyPair", "KeyName", "k", "PublicKeyMaterial",
		base64.StdEncoding.EncodeToString([]byte("no key")))
	refused(t, s, "InvalidParameterValue", "CreateKeyPair", "KeyName", "k", "KeyType", "dsa")
	refused(t, s, "UnsupportedOperation", "CreateKeyPair", "KeyName", "k", "KeyFormat", "ppk")
	mustRequest(t, s, "DeleteKeyPair", "KeyName", "none") // as EC2 does
}
