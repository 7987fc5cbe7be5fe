package ec2

import (
	"context"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// What users say of images and snapshots after they were made. Launch permissions are kept by moto; the
// rest it does not know, and is kept here.

// own is an image that was made here, or the error that EC2 has for one that was not.
func (s *Images) own(id string) error {
	record, ok := s.records.Image(id)
	switch {
	case moto.IsBase(id):
		return awsquery.Faultf(apierror.NotAuthorized, "Not authorized for image:%s: it is the local cloud's own", id)
	case !ok || record.Gone:
		return awsquery.Fault(apierror.InvalidAMIIDNotFound, id)
	}
	return nil
}

// change changes what is kept of an image here.
func (s *Images) change(c *awsquery.Call, change func(*records.Image)) (*awsquery.Node, error) {
	id := c.Get("ImageId")
	if err := s.own(id); err != nil {
		return nil, err
	}
	err := s.records.Update(func(o *records.State) {
		if record, ok := o.Images[id]; ok {
			change(record)
		}
	})
	return awsquery.Done(c.Action()), err
}

func (s *Images) modifyAttribute(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	if err := s.own(c.Get("ImageId")); err != nil {
		return nil, err
	}
	if imds := c.Get("ImdsSupport.Value"); imds != "" {
		if imds != "v2.0" {
			return nil, awsquery.Faultf(apierror.InvalidParameterValue,
				"The value '%s' is not valid for imdsSupport; it must be v2.0", imds)
		}
		return s.change(c, func(record *records.Image) { record.IMDS = imds })
	}
	return s.moto.Forward(ctx, c)
}

func (s *Images) enableDeprecation(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	at, err := time.Parse(time.RFC3339, c.Get("DeprecateAt"))
	if err != nil || at.Before(time.Now()) || at.After(time.Now().AddDate(10, 0, 1)) {
		return nil, awsquery.Faultf(apierror.InvalidParameterValue,
			"The value '%s' is not valid for DeprecateAt: it must be a time in the next ten years",
			c.Get("DeprecateAt"))
	}
	return s.change(c, func(record *records.Image) { record.Deprecated = at.UTC().Round(time.Minute) })
}

func (s *Images) disableDeprecation(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	return s.change(c, func(record *records.Image) { record.Deprecated = time.Time{} })
}

func (s *Images) enableProtection(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	how := "enabled-without-cooldown"
	if c.Get("WithCooldown") == "true" {
		how = "enabled-with-cooldown"
	}
	return s.change(c, func(record *records.Image) { record.Protection = how })
}

// disableProtection ends a protection at once, also one with a cooldown, which on EC2 goes on for a day.
func (s *Images) disableProtection(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	return s.change(c, func(record *records.Image) { record.Protection = "" })
}

// overlayAttributes describes what is kept of an image here.
func overlayAttributes(item *awsquery.Node, record records.Image) {
	protection := record.Protection
	if protection == "" {
		protection = "disabled"
	}
	item.Set(protection, "deregistrationProtection")
	if record.IMDS != "" {
		item.Set(record.IMDS, "imdsSupport")
	}
	if !record.Deprecated.IsZero() {
		item.Set(awsquery.Timestamp(record.Deprecated), "deprecationTime")
	}
}
