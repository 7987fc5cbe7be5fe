// Package apierror has the errors of EC2 and of its neighbours that the product looks for, and those that the local
// cloud and the fake account answer with: one table, so that nothing is looked for that no service says.
//
// AWS documents codes, and few messages. A row's message is the one that its documentation shows, or one of answers of
// the service that others have published; it is empty where the documentation leaves the text open ("The returned
// message provides an explanation of the error value") and whoever answers says what is wrong.
package apierror

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Row is an error that a service answers with.
type Row struct {
	Code string
	// Message has a verb, as fmt does, for each value; it is empty where the text is open.
	Message string
	Status  int
	// Source names the page that documents the code.
	Source string

	pattern func() *regexp.Regexp
}

// table has the rows in the order of the files.
var table []*Row

func row(source string, status int, code, message string) *Row {
	r := &Row{
		Code:    code,
		Message: message,
		Status:  cmp.Or(status, http.StatusBadRequest),
		Source:  source,
	}
	r.pattern = sync.OnceValue(r.compile)
	table = append(table, r)
	return r
}

// Rows are all rows.
func Rows() []*Row { return slices.Clone(table) }

// longest is how much of a value a message has: a caller may have sent megabytes.
const longest = 255

// Text is the message with its values.
func (r *Row) Text(values ...any) string {
	short := slices.Clone(values)
	for i, value := range short {
		if text, ok := value.(string); ok && len(text) > longest {
			short[i] = strings.ToValidUTF8(text[:longest], "") + "…"
		}
	}
	return fmt.Sprintf(r.Message, short...)
}

var verb = regexp.MustCompile(`%(\.\d+)?[sdq]`)

// compile makes a pattern of the message, in which each value is a group. What follows the message is an addition: of
// EC2's, which tells more in some regions and for some kinds of thing, or of the local cloud's.
func (r *Row) compile() *regexp.Regexp {
	parts := verb.Split(r.Message, -1)
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile(`(?is)^\s*` + strings.Join(parts, `(.*?)`) + end(r.Message))
}

// end has a value that ends a message go as far as it can.
func end(message string) string {
	if at := verb.FindAllStringIndex(message, -1); len(at) > 0 && at[len(at)-1][1] == len(message) {
		return `$`
	}
	return ``
}

// Match tells whether an error is this row's, and which values its message has.
func (r *Row) Match(code, message string) (values []string, ok bool) {
	if code != r.Code {
		return nil, false
	}
	found := r.pattern().FindStringSubmatch(message)
	if found == nil {
		return nil, false
	}
	return found[1:], true
}

// Kind is a kind of thing that has ids, with EC2's errors for them.
type Kind struct {
	// Prefix is the id's beginning, without the dash.
	Prefix string
	// NotFound is for an id of nothing, Malformed for what is no id; EC2 has no such code for some kinds.
	NotFound, Malformed *Row
}

// KindOf is the kind of an id by its prefix.
func KindOf(prefix string) (Kind, bool) {
	at := slices.IndexFunc(kinds, func(k Kind) bool { return k.Prefix == prefix })
	if at < 0 {
		return Kind{}, false
	}
	return kinds[at], true
}

// NotFound tells whether a code says that a thing is not there. EC2 has one for each kind of thing: "If the resource
// cannot be found, you get the following error: Client.InvalidResource.NotFound" (Error codes for the Amazon EC2 API,
// Common causes of client errors). The other services have NotFound at the end, or before Exception or Fault.
func NotFound(code string) bool {
	return code == NoSuchEntity.Code ||
		strings.HasSuffix(strings.TrimSuffix(strings.TrimSuffix(code, "Exception"), "Fault"), "NotFound")
}
