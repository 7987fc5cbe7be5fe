// Package awsquery reads and writes what AWS's query protocol carries: calls (a form with an Action), answers (a tree
// of XML elements), errors, and filters of Describe calls. It also knows the names of all actions of the local cloud's
// services, the shape of resource ids, and the characters that an answer can carry.
//
// Limits: the services that speak JSON (SSM) or REST (EBS direct) pass as bytes, with the name of their action read
// from the header. It sends nothing and knows no state.
package awsquery
