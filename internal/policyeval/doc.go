// Package policyeval reads IAM's policy documents and decides by them, as the IAM User Guide's "Policy evaluation
// logic" and "IAM JSON policy elements" have it: an explicit deny in any policy; else what an identity's policies
// allow, if its permissions boundary and its session's policies allow it too; else no. It calls no API, so that a
// recorded call can be held to a policy that nobody has attached yet.
//
// Limits: policies of organizations are not known. Of resource-based policies only roles' trust policies are, see
// Trusts.
package policyeval
