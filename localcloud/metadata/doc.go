// Package metadata tells the metadata services of instances what the records say: addresses, tags, user data, and the
// credentials of the instance's role.
//
// Limits: the services themselves are package host's.
package metadata
