//go:build linux

package cli

import (
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/trail"
)

func TestTimeOf(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                     {},
		"5m":                   now.Add(-5 * time.Minute),
		"2026-05-04T10:00:00Z": now.Add(-2 * time.Hour),
	} {
		if got, err := timeOf(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-5m", "5", "2026-05-04"} {
		if got, err := timeOf(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestRowOfTheTrail(t *testing.T) {
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.Local)
	e := trail.Event{
		Time:       at,
		Source:     "ec2.amazonaws.com",
		Name:       "RunInstances",
		Identity:   trail.Identity{ARN: "arn:aws:iam::123456789012:user/ada"},
		UserAgent:  "aws-sdk-go-v2/1.47 os/linux lang/go goldsmith/0.9.0 md/command#deploy",
		Parameters: map[string]string{"ImageId": "ami-1", "UserData": trail.Hidden, "A": "b\tc\x1b"},
		ErrorCode:  "RequestLimitExceeded",
		Attempt:    2,
	}
	const want = "12:00:00.000\tuser/ada\tgoldsmith/0.9.0 deploy\tec2:RunInstances\t" +
		"RequestLimitExceeded (attempt 2)\tA=b c  ImageId=ami-1"
	if got := rowOf(e); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for agent, want := range map[string]string{
		"Boto3/1.34 md/Botocore#1.34 ua/2.0": "Boto3/1.34",
		"aws-cli/2.9.19 Python/3.11":         "aws-cli/2.9.19",
		"curl/8.0":                           "curl/8.0",
		"":                                   "",
	} {
		if got := clientOf(agent); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}
