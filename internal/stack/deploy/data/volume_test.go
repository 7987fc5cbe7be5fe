package data

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/stacktest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// TestChangedVolume holds what is asked of EC2 to what differs. The local cloud's volumes keep their size, so that
// this is tried against an answer as AWS documents it.
func TestChangedVolume(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*types.Volume)
		want    string // of the request; empty where there should be none
		fault   string
		refused string // EC2's code
	}{
		{"nothing differs", func(*types.Volume) {}, "", "", ""},
		{"it shall grow", func(v *types.Volume) { v.Size = aws.Int32(5) }, "vol-1 8 gp3 3000 125", "", ""},
		{"another type", func(v *types.Volume) { v.VolumeType, v.Throughput = types.VolumeTypeGp2, nil },
			"vol-1 8 gp3 3000 125", "", ""},
		{"other limits", func(v *types.Volume) { v.Iops, v.Throughput = aws.Int32(4000), aws.Int32(250) },
			"vol-1 8 gp3 3000 125", "", ""},
		{"it shall shrink", func(v *types.Volume) { v.Size = aws.Int32(9) }, "", "a volume cannot be made smaller", ""},
		{"it is not encrypted", func(v *types.Volume) { v.Encrypted = aws.Bool(false) }, "", "it is not encrypted", ""},
		{"EC2 refuses", func(v *types.Volume) { v.Size = aws.Int32(1) }, "vol-1 8 gp3 3000 125",
			"change data volume vol-1, whose size is 1 and not 8", "UnauthorizedOperation"},
		{"it was changed an hour ago", func(v *types.Volume) { v.Size = aws.Int32(1) }, "vol-1 8 gp3 3000 125", "",
			"VolumeModificationRateExceeded"},
		{"it is being changed", func(v *types.Volume) { v.Size = aws.Int32(1) }, "vol-1 8 gp3 3000 125", "",
			"IncorrectModificationState"},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := ""
			conf := stacktest.Config(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				form := readForm(t, r)
				asked = strings.Join([]string{form.Get("VolumeId"), form.Get("Size"), form.Get("VolumeType"),
					form.Get("Iops"), form.Get("Throughput")}, " ")
				if form.Get("Action") != "ModifyVolume" {
					t.Errorf("the call is %s", form.Get("Action"))
				}
				if c.refused != "" {
					w.WriteHeader(http.StatusBadRequest)
					fmt.Fprintf(w, `<Response><Errors><Error><Code>%s</Code><Message>said the test</Message></Error>`+
						`</Errors></Response>`, c.refused)
					return
				}
				fmt.Fprint(
					w,
					`<ModifyVolumeResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><volumeModification>`+
						`<volumeId>vol-1</volumeId><modificationState>modifying</modificationState>`+
						`</volumeModification></ModifyVolumeResponse>`,
				)
			}))
			v := &types.Volume{
				VolumeId:   aws.String("vol-1"),
				Size:       aws.Int32(8),
				VolumeType: types.VolumeTypeGp3,
				Iops:       aws.Int32(3000),
				Throughput: aws.Int32(125),
				Encrypted:  aws.Bool(true),
			}
			c.change(v)
			s := defaultstack.New(conf, stackfile.Default(), t.Logf)
			own := &volumes{run: &tier.Run{Stack: s, Act: plan.NewActor(false)}, stack: s, tier: s.Tier("db")}
			err := own.change(t.Context(), v)
			if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("got %v, want %q", err, c.fault)
			}
			if asked != c.want {
				t.Errorf("EC2 was asked for %q, want %q", asked, c.want)
			}
			if changed := len(own.run.Act.Changes()); changed > 0 != (c.want != "" && c.refused == "") {
				t.Errorf("%d changes are told", changed)
			}
		})
	}
}

// TestAccountThatEncrypts has each volume be encrypted, whether that is wanted or not.
func TestAccountThatEncrypts(t *testing.T) {
	s := defaultstack.New(aws.Config{}, stackfile.Default(), t.Logf)
	own := &volumes{stack: s, tier: s.Tier("db")}
	own.tier.Data.Volume.Encrypted = false
	different, err := own.differences(&types.Volume{
		Size:       aws.Int32(8),
		VolumeType: types.VolumeTypeGp3,
		Encrypted:  aws.Bool(true),
	})
	if err != nil || len(different) > 0 {
		t.Errorf("got %v, %v", different, err)
	}
}

func readForm(t *testing.T, r *http.Request) url.Values {
	t.Helper()
	if err := r.ParseForm(); err != nil {
		t.Error(err)
	}
	return r.PostForm
}
