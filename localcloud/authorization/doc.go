// Package authorization decides whether a caller may make a call. It knows what AWS asks IAM for before a call is
// carried out, which actions on which resources with which condition keys (Service Authorization Reference), and whose
// policies answer that.
//
// Requests is for everybody who wants to know what a call asks for, the caller apart; Authorizer decides.
//
// Limits: key policies are those that AWS gives, which leave keys to IAM, or, for keys of AWS's own, allow them by way
// of their service. Condition keys are those of the call's parameters, of tags, of the caller and of the time; what
// EC2 knows of a resource beside its tags (ec2:Vpc, ec2:Owner …) is not among them, nor aws:SecureTransport, as the
// local cloud is asked by HTTP.
package authorization
