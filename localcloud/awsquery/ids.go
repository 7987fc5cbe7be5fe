package awsquery

import (
	"regexp"
	"strings"
)

// ResourceID matches an id of EC2's, i-0123456789abcdef0 for example.
var ResourceID = regexp.MustCompile(`\b[a-z]+(?:-[a-z]+)*-[0-9a-f]{8,17}\b`)

// IsResourceID tells whether a name is an id, and no name of another kind that has one in it.
func IsResourceID(name string) bool {
	return ResourceID.MatchString(name) && !strings.Contains(name, ":")
}

// FreeText are parameters in which users write what they like, ids of other things too.
var FreeText = regexp.MustCompile(`(^|\.)(Tags?\.(member\.)?\d+\.(Key|Value)|Description|UserData|` +
	`PolicyDocument|AssumeRolePolicyDocument)$`)
