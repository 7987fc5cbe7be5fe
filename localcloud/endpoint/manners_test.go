package endpoint

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/manners"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
)

// TestManners: calls of all services meet them, and what they refuse is not carried out.
func TestManners(t *testing.T) {
	b := mototest.New(t, map[string]func(url.Values) string{"CreateInstanceProfile": mototest.Canned("")})
	s := newServer(t, b, newMachinery(t))
	s.config.Manners = &manners.Manners{}
	s.config.Manners.Set(manners.Setting{EC2: true, Time: 1, Seed: 1})
	form := awsquery.NewCall("iam", "CreateInstanceProfile", "InstanceProfileName", "mine").Form
	if w := send(s, "iam", "test", form); w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	said := refused(t, s, "InvalidParameterValue", "RunInstances", "ImageId", moto.BaseImages["trixie"].ID,
		"IamInstanceProfile.Name", "mine")
	if !strings.Contains(said, "Invalid IAM Instance Profile name") {
		t.Errorf("it says %s", said)
	}
	if calls := b.Changes(); len(calls) != 1 {
		t.Errorf("moto got %v", calls)
	}
}
