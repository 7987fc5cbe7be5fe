package builder

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"
)

// keys are the two pairs of a build: the user's, with which the builder logs in, and the host's, by which it knows that
// nobody stands between. Both live as long as the instance.
type keys struct {
	name        string // of the key pair in EC2
	temporary   bool
	hostPrivate string
	hostPublic  ssh.PublicKey
}

// makeKeyPair makes both pairs here and imports the public half of the user's.
func (b *bake) makeKeyPair(ctx context.Context) error {
	private, public, err := newPair("goldsmith host")
	if err != nil {
		return err
	}
	b.keys.hostPrivate, b.keys.hostPublic = private, public
	if b.config.Comm.SSHKeyPairName != "" {
		b.keys.name = b.config.Comm.SSHKeyPairName
		b.ui.Say("Using key pair " + b.keys.name)
		return nil
	}
	b.ui.Say("Making a temporary key pair...")
	private, public, err = newPair("goldsmith build " + b.id)
	if err != nil {
		return err
	}
	b.config.Comm.SSHPrivateKey = []byte(private)
	b.config.Comm.SSHPublicKey = ssh.MarshalAuthorizedKey(public)
	b.keys.name, b.keys.temporary = "goldsmith-build-"+b.id, true
	whole, cancel := making(ctx)
	defer cancel()
	_, err = b.ec2.ImportKeyPair(whole, &ec2.ImportKeyPairInput{KeyName: aws.String(b.keys.name), PublicKeyMaterial: b.config.Comm.SSHPublicKey,
		TagSpecifications: []types.TagSpecification{specification(types.ResourceTypeKeyPair, b.tags(b.runName(), b.config.RunTags))}})
	return err
}

// removeKeyPair removes the key pair also if the answer to its import was never read.
func (b *bake) removeKeyPair(ctx context.Context) error {
	if !b.keys.temporary {
		return nil
	}
	b.ui.Say("Removing the temporary key pair...")
	_, err := b.ec2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String(b.keys.name)})
	if err != nil && !isGone(err) {
		return fmt.Errorf("delete key pair %s: %w", b.keys.name, err)
	}
	return nil
}

func newPair(comment string) (private string, public ssh.PublicKey, err error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", nil, err
	}
	block, err := ssh.MarshalPrivateKey(priv, comment)
	if err != nil {
		return "", nil, err
	}
	public, err = ssh.NewPublicKey(pub)
	return string(pem.EncodeToMemory(block)), public, err
}

// userData is what cloud-init gets: the host key, and what the user gave.
func (b *bake) userData() (string, error) {
	own := "#cloud-config\nssh_deletekeys: true\nssh_keys:\n  ed25519_private: |\n    " +
		strings.ReplaceAll(strings.TrimSpace(b.keys.hostPrivate), "\n", "\n    ") +
		"\n  ed25519_public: " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(b.keys.hostPublic))) + "\n"
	users := []byte(b.config.UserData)
	if b.config.UserDataFile != "" {
		var err error
		if users, err = os.ReadFile(b.config.UserDataFile); err != nil {
			return "", fmt.Errorf("user_data_file: %w", err)
		}
	}
	all := []byte(own)
	if len(users) > 0 {
		var err error
		if all, err = combine([]byte(own), users); err != nil {
			return "", err
		}
	}
	return base64.StdEncoding.EncodeToString(all), nil
}

// userDataTypes are cloud-init's names for the kinds of user-data, by how they begin:
// https://cloudinit.readthedocs.io/en/latest/explanation/format.html
var userDataTypes = map[string]string{
	"#!": "text/x-shellscript", "#cloud-config": "text/cloud-config", "#include": "text/x-include-url",
	"#cloud-boothook": "text/cloud-boothook", "## template: jinja": "text/jinja2", "#part-handler": "text/part-handler",
}

// combine makes one multipart message of several user-data.
func combine(parts ...[]byte) ([]byte, error) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, part := range parts {
		kind := ""
		for start, name := range userDataTypes {
			if bytes.HasPrefix(part, []byte(start)) && (kind == "" || start != "#!") {
				kind = name
			}
		}
		if kind == "" {
			return nil, errors.New("user_data: it begins with nothing that cloud-init knows, such as #cloud-config or #!")
		}
		out, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {kind + `; charset="utf-8"`}})
		if err != nil {
			return nil, err
		}
		if _, err := out.Write(part); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "Content-Type: multipart/mixed; boundary=%q\nMIME-Version: 1.0\n\n%s", w.Boundary(), body.Bytes()), nil
}
