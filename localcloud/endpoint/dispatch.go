package endpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/authorization"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
)

// networkAction matches the names of calls after which the network is another.
var networkAction = regexp.MustCompile(`Vpc|Subnet|Route|Gateway|SecurityGroup|Address|NetworkInterface`)

// answer answers a call that its caller may make as the cloud's manners have it.
func (s *Server) answer(ctx context.Context, c *awsquery.Call, asks authorization.Asks) (*awsquery.Answer, error) {
	if err := s.config.Models.Check(c); err != nil {
		return nil, err
	}
	if err := s.allowed.Authorize(ctx, c, asks); err != nil {
		return nil, err
	}
	return s.config.Manners.Answer(ctx, c, s.carryOut)
}

// carryOut does what a call says.
func (s *Server) carryOut(ctx context.Context, c *awsquery.Call) (*awsquery.Answer, error) {
	own, ok := s.handlers[c.Service]
	if ok && c.Action() == "" {
		// Moto would read more than the form, and find an action that was never looked at here.
		return nil, awsquery.Faultf(apierror.MissingAction,
			"The request is missing an action: it is a form with an Action")
	}
	if c.Service == "servicequotas" {
		return s.answerQuotas(c)
	}
	if c.Service == "ec2" {
		if dry, err := c.DryRun(); dry || err != nil {
			return nil, cmp.Or(err, s.dryRun(ctx, c))
		}
	}
	if !c.Reads() {
		// A change that has begun is brought to its end, also if the client goes away.
		ctx = context.WithoutCancel(ctx)
		s.change.Lock()
		defer s.change.Unlock()
		if c.Service == "iam" {
			changed, err := s.allowed.Changing(ctx, c)
			if err != nil {
				return nil, err
			}
			defer changed()
		}
	}
	if !ok {
		a, err := s.moto.PassThrough(ctx, c)
		if c.Service == "ebs" {
			a = numberBlocks(a)
		}
		return a, err
	}
	ctx, made := moto.Collecting(ctx)
	a, err := s.answerOwn(ctx, c, own[c.Action()])
	var unreal *moto.UnrealError
	if errors.As(err, &unreal) && !c.Reads() {
		err = errors.Join(err, s.takeBack(ctx, *made))
	}
	return a, err
}

// takeBack removes a call's records, and applies the network of before. The caller holds s.change.
func (s *Server) takeBack(ctx context.Context, seeds []int) error {
	if len(seeds) == 0 {
		return nil
	}
	err := s.moto.TakeBack(ctx, seeds, s.records.Stopped)
	if err == nil {
		err = s.network.Apply(ctx)
	}
	if err != nil {
		return fmt.Errorf("take back what could not be made real: %w", err)
	}
	return nil
}

// answerOwn is for the services of which some calls are more than a record.
func (s *Server) answerOwn(ctx context.Context, c *awsquery.Call, handle awsquery.Handler) (*awsquery.Answer, error) {
	if handle == nil {
		return s.passThroughOwn(ctx, c)
	}
	root, err := handle(ctx, c)
	if err != nil {
		return nil, err
	}
	return &awsquery.Answer{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"text/xml;charset=UTF-8"}},
		Body:   root.Bytes(),
	}, nil
}

// passThroughOwn is for actions that are a record only, or change no more than the network.
func (s *Server) passThroughOwn(ctx context.Context, c *awsquery.Call) (*awsquery.Answer, error) {
	a, err := s.moto.PassThrough(ctx, c)
	if err != nil || !a.OK() || c.Reads() || c.Service != "ec2" || !networkAction.MatchString(c.Action()) {
		return a, err
	}
	if err := s.network.Apply(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

var quotedBlock = regexp.MustCompile(`"BlockIndex":\s*"(\d+)"`)

// numberBlocks makes numbers of the block indexes of EBS direct, which moto gives as strings.
func numberBlocks(a *awsquery.Answer) *awsquery.Answer {
	if a == nil || !strings.Contains(a.Header.Get("Content-Type"), "json") {
		return a
	}
	a.Body = quotedBlock.ReplaceAll(a.Body, []byte(`"BlockIndex": $1`))
	return a
}

// describeRegions answers with the only region.
func (s *Server) describeRegions(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	for _, name := range c.List("RegionName") {
		if name != awsquery.Region {
			return nil, awsquery.Faultf(apierror.InvalidParameterValue,
				"Invalid region provided: %s; the local cloud has %s", name, awsquery.Region)
		}
	}
	return awsquery.Reply(c.Action(),
		awsquery.Element("regionInfo", awsquery.Element("item", awsquery.Text("regionName", awsquery.Region),
			awsquery.Text("regionEndpoint", fmt.Sprintf("ec2.%s.amazonaws.com", awsquery.Region)),
			awsquery.Text("optInStatus", "opt-in-not-required")))), nil
}
