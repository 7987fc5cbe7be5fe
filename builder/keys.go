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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

// keyPairs are the two of a build: the user's, with which the builder logs in, and the host's, by which it knows that
// nobody stands between. Both live as long as the instance.
type keyPairs struct {
	name        string // of the user's in EC2
	hostPrivate string
	hostPublic  ssh.PublicKey
	// private and public are the user's; empty where the configuration names a pair in EC2.
	private, public []byte
}

// makeKeyPair makes the keys, and has the SDK log in with the user's.
func (b *bake) makeKeyPair(ctx context.Context) (err error) {
	b.machine.keys, err = createKeyPairs(ctx, b.job)
	if keys := b.machine.keys; err == nil && keys.private != nil {
		b.job.config.Comm.SSHPrivateKey, b.job.config.Comm.SSHPublicKey = keys.private, keys.public
	}
	return err
}

// createKeyPairs makes both pairs here and imports the public half of the user's.
func createKeyPairs(ctx context.Context, j *job) (keys keyPairs, err error) {
	if keys.hostPrivate, keys.hostPublic, err = newPair("goldsmith host"); err != nil {
		return keys, err
	}
	if keys.name = j.config.Comm.SSHKeyPairName; keys.name != "" {
		j.ui.Say("Using key pair " + keys.name)
		return keys, nil
	}
	j.ui.Say("Making a temporary key pair...")
	private, public, err := newPair("goldsmith build " + j.id)
	if err != nil {
		return keys, err
	}
	keys.name, keys.private, keys.public = j.temporaryName(), []byte(private), ssh.MarshalAuthorizedKey(public)
	detached, cancel := createContext(ctx)
	defer cancel()
	_, err = j.ec2.ImportKeyPair(detached, &ec2.ImportKeyPairInput{
		KeyName:           aws.String(keys.name),
		PublicKeyMaterial: keys.public,
		TagSpecifications: j.runSpecs(types.ResourceTypeKeyPair),
	})
	return keys, err
}

// removeKeyPair removes the key pair also if the answer to its import was never read.
func removeKeyPair(ctx context.Context, j *job) error {
	if j.config.Comm.SSHKeyPairName != "" {
		return nil
	}
	j.ui.Say("Removing the temporary key pair...")
	_, err := j.ec2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String(j.temporaryName())})
	if err != nil && !awserr.NotFound(err) {
		return fmt.Errorf("delete key pair %s: %w", j.temporaryName(), err)
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

// userDataFor is the instance's user-data, in base64: the host key for cloud-init, and the user's own.
func userDataFor(c *Config, keys keyPairs) (string, error) {
	own := "#cloud-config\nssh_deletekeys: true\nssh_keys:\n  ed25519_private: |\n    " +
		strings.ReplaceAll(strings.TrimSpace(keys.hostPrivate), "\n", "\n    ") +
		"\n  ed25519_public: " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(keys.hostPublic))) + "\n"
	users := []byte(c.UserData)
	if c.UserDataFile != "" {
		var err error
		if users, err = os.ReadFile(c.UserDataFile); err != nil {
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

// userDataTypes are cloud-init's names for the kinds of user-data, by how they begin; the first that matches counts:
// https://cloudinit.readthedocs.io/en/latest/explanation/format.html
var userDataTypes = []struct{ start, name string }{
	{"#cloud-config", "text/cloud-config"},
	{"#include", "text/x-include-url"},
	{"#cloud-boothook", "text/cloud-boothook"},
	{"## template: jinja", "text/jinja2"},
	{"#part-handler", "text/part-handler"},
	{"#!", "text/x-shellscript"},
}

// userDataType is the kind of user-data; empty where cloud-init does not know it.
func userDataType(part []byte) string {
	for _, kind := range userDataTypes {
		if bytes.HasPrefix(part, []byte(kind.start)) {
			return kind.name
		}
	}
	return ""
}

// combine makes one multipart message of several user-data.
func combine(parts ...[]byte) ([]byte, error) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, part := range parts {
		kind := userDataType(part)
		if kind == "" {
			return nil, errors.New("user_data: it begins with nothing that cloud-init knows, such as #! or " +
				"#cloud-config")
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
	const form = "Content-Type: multipart/mixed; boundary=%q\nMIME-Version: 1.0\n\n%s"
	return fmt.Appendf(nil, form, w.Boundary(), body.Bytes()), nil
}
