// Package identity knows whose an access key is: the operator's, one that IAM made for a user, or a temporary one of
// STS or of an instance's metadata service. It answers the calls of IAM and STS that make and end keys, as moto's could
// be guessed.
//
// Limits: what a key's owner may do is package authorization's. Temporary keys end with the process.
package identity
