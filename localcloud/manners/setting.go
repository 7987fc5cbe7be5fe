package manners

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Setting says which manners a cloud has. Its zero value is none.
type Setting struct {
	// EC2 has the cloud be as slow, as late and as strict as EC2.
	EC2 bool
	// Time scales durations. What is late only because EC2 is eventually consistent is never scaled.
	Time float64
	// Seed is the seed of all random draws.
	Seed uint64
}

// Usage is the form of a setting's text.
const Usage = "none, or ec2[,time=FACTOR][,seed=NUMBER]"

// longest is the largest factor of durations.
const longest = 10

// Parse reads a setting. A seed that is not given is drawn.
func Parse(text string) (Setting, error) {
	kind, options, more := strings.Cut(text, ",")
	switch {
	case kind == "none" && !more:
		return Setting{}, nil
	case kind != "ec2":
		return Setting{}, fmt.Errorf("manners %q: there are none of this name\nhint: %s", text, Usage)
	}
	s := Setting{EC2: true, Time: 1, Seed: uint64(rand.Uint32())}
	if !more {
		return s, nil
	}
	given := map[string]bool{}
	for option := range strings.SplitSeq(options, ",") {
		name, value, _ := strings.Cut(option, "=")
		if given[name] {
			return Setting{}, fmt.Errorf("manners %q: %s is there twice\nhint: %s", text, name, Usage)
		}
		given[name] = true
		var err error
		switch name {
		case "time":
			s.Time, err = strconv.ParseFloat(value, 64)
			if err != nil || !(s.Time >= 0 && s.Time <= longest) {
				const wrong = "manners %q: time is a number from 0 to %d\nhint: %s"
				return Setting{}, fmt.Errorf(wrong, text, longest, Usage)
			}
		case "seed":
			if s.Seed, err = strconv.ParseUint(value, 10, 64); err != nil {
				return Setting{}, fmt.Errorf("manners %q: seed is a whole number\nhint: %s", text, Usage)
			}
		default:
			return Setting{}, fmt.Errorf("manners %q: there is no option %q\nhint: %s", text, name, Usage)
		}
	}
	return s, nil
}

// String is the text from which Parse makes the same setting.
func (s Setting) String() string {
	if !s.EC2 {
		return "none"
	}
	return fmt.Sprintf("ec2,time=%s,seed=%d", strconv.FormatFloat(s.Time, 'f', -1, 64), s.Seed)
}
