package manners

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Setting{
		"none":                                  {},
		"ec2,seed=7":                            {EC2: true, Time: 1, Seed: 7},
		"ec2,time=0.1,seed=7":                   {EC2: true, Time: 0.1, Seed: 7},
		"ec2,seed=7,time=0":                     {EC2: true, Time: 0, Seed: 7},
		"ec2,time=10,seed=18446744073709551615": {EC2: true, Time: 10, Seed: 18446744073709551615},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%s: %s is read as %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{
		"", "EC2", "none,time=1", "ec2,", "ec2,time", "ec2,time=x", "ec2,time=-1", "ec2,time=11", "ec2,time=NaN",
		"ec2,seed=", "ec2,seed=-1", "ec2,seed=1.5", "ec2,speed=1", "ec2,time=1,time=1", "ec2,none",
	} {
		if got, err := Parse(text); err == nil || !strings.Contains(err.Error(), "\nhint: "+Usage) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

// TestParseDrawsASeed: without one it is drawn, and told.
func TestParseDrawsASeed(t *testing.T) {
	first, err1 := Parse("ec2")
	second, err2 := Parse("ec2,time=0.5")
	if err1 != nil || err2 != nil || first.Seed == second.Seed {
		t.Errorf("got %+v, %v and %+v, %v", first, err1, second, err2)
	}
	if text := second.String(); !strings.HasPrefix(text, "ec2,time=0.5,seed=") {
		t.Errorf("it is told as %s", text)
	}
}
