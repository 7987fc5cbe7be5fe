// Package leaks finds secrets in text by the rules of gitleaks.
package leaks

import (
	"fmt"
	"sync"

	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/logging"
)

// Leak is one secret that a rule sees in a text. The secret itself is not part of it.
type Leak struct {
	Rule string // gitleaks' name of it, for example aws-access-token
	Line int    // from 1
}

var detector = sync.OnceValues(func() (*detect.Detector, error) {
	logging.Logger = logging.Logger.Level(zerolog.Disabled) // its log would show what it found
	return detect.NewDetectorDefaultConfig()
})

// Find applies all rules to a text. path is the path of its file, which some rules match.
func Find(path string, content []byte) ([]Leak, error) {
	d, err := detector()
	if err != nil {
		return nil, fmt.Errorf("read the secret scanner's rules: %w", err)
	}
	var all []Leak
	fragment := detect.Fragment{Raw: string(content), FilePath: path} //nolint:staticcheck // Detect takes no other type
	for _, f := range d.Detect(fragment) {
		all = append(all, Leak{Rule: f.RuleID, Line: f.StartLine + 1})
	}
	return all, nil
}
