package apierror

import "net/http"

// The pages that document the codes of the other services.
const (
	commonErrors    = "Common Errors, of the API references of IAM, STS, Systems Manager, Auto Scaling and ELB"
	iamActions      = "IAM API Reference: Errors of the actions for roles, instance profiles and users"
	stsActions      = "AWS STS API Reference: AssumeRole"
	ssmActions      = "AWS Systems Manager API Reference: PutParameter, GetParameter, DeleteParameter"
	scalingActions  = "Amazon EC2 Auto Scaling API Reference: Errors of the actions for groups and instance refreshes"
	quotaActions    = "Service Quotas API Reference: GetServiceQuota"
	balancerActions = "Elastic Load Balancing API Reference, version 2015-12-01: Errors of the actions"
)

// Of several services: those of the query protocol, and beside them those that speak JSON.
var (
	AccessDenied               = row(commonErrors, http.StatusForbidden, "AccessDenied", "")
	AccessDeniedException      = row(commonErrors, http.StatusForbidden, "AccessDeniedException", "")
	ConstraintViolation        = row(commonErrors, 0, "ValidationError", constraint)
	ConstraintViolationJSON    = row(commonErrors, 0, "ValidationException", constraint)
	ExpiredToken               = row(commonErrors, http.StatusForbidden, "ExpiredToken", expired)
	ExpiredTokenException      = row(commonErrors, 0, "ExpiredTokenException", expired)
	IncompleteSignature        = row(commonErrors, 0, "IncompleteSignature", incompleteSignature)
	IncompleteSignatureJSON    = row(commonErrors, 0, "IncompleteSignatureException", incompleteSignature)
	InternalServiceError       = row(commonErrors, http.StatusInternalServerError, "InternalServiceError", "")
	InvalidClientTokenID       = row(commonErrors, http.StatusForbidden, "InvalidClientTokenId", unknownToken)
	InvalidSignatureException  = row(commonErrors, http.StatusForbidden, "InvalidSignatureException", mismatch)
	MissingAuthenticationToken = row(commonErrors, http.StatusForbidden, "MissingAuthenticationToken", missingToken)
	MissingAuthenticationJSON  = row(
		commonErrors, http.StatusForbidden, "MissingAuthenticationTokenException", missingToken,
	)
	SerializationException = row(published, 0, "SerializationException", "")
	SignatureDoesNotMatch  = row(commonErrors, http.StatusForbidden, "SignatureDoesNotMatch", mismatch)
	Throttling             = row(commonErrors, 0, "Throttling", "Rate exceeded")
	ThrottlingException    = row(commonErrors, 0, "ThrottlingException", "Rate exceeded")
	UnknownOperation       = row(commonErrors, 0, "UnknownOperationException", "")
	UnrecognizedClient     = row(commonErrors, http.StatusForbidden, "UnrecognizedClientException", unknownToken)
	ValidationError        = row(commonErrors, 0, "ValidationError", "")
	ValidationException    = row(commonErrors, 0, "ValidationException", "")
)

const (
	constraint          = "1 validation error detected: Value at '%s' failed to satisfy constraint: Member %s"
	expired             = "The security token included in the request is expired"
	incompleteSignature = "The request signature does not conform to AWS standards"
	unknownToken        = "The security token included in the request is invalid"
	mismatch            = "The request signature we calculated does not match the signature you provided."
	missingToken        = "Missing Authentication Token"
)

// IAM and STS.
var (
	DeleteConflict          = row(iamActions, http.StatusConflict, "DeleteConflict", deleteConflict)
	EntityAlreadyExists     = row(iamActions, http.StatusConflict, "EntityAlreadyExists", entityExists)
	ProfileFull             = row(iamActions, http.StatusConflict, "LimitExceeded", profileFull)
	LimitExceeded           = row(iamActions, http.StatusConflict, "LimitExceeded", "")
	MalformedPolicyDocument = row(iamActions, 0, "MalformedPolicyDocument", "")
	NoSuchEntity            = row(iamActions, http.StatusNotFound, "NoSuchEntity", "")
	NoSuchInstanceProfile   = row(iamActions, http.StatusNotFound, "NoSuchEntity", noProfile)
	NoSuchRole              = row(iamActions, http.StatusNotFound, "NoSuchEntity", noRole)
	InvalidRoleArn          = row(stsActions, 0, "ValidationError", "%s is invalid")
)

const (
	entityExists   = "%s with name %s already exists."
	noProfile      = "Instance Profile %s cannot be found."
	noRole         = "The role with name %s cannot be found."
	deleteConflict = "Cannot delete entity, must %s first."
	profileFull    = "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"
)

// Parameter Store.
var (
	ParameterAlreadyExists   = row(ssmActions, 0, "ParameterAlreadyExists", parameterExists)
	ParameterNotFound        = row(ssmActions, 0, "ParameterNotFound", "")
	ParameterVersionNotFound = row(ssmActions, 0, "ParameterVersionNotFound", "")
	ParameterTooLong         = row(ssmActions, 0, "ValidationException", parameterTooLong)
	TagsAndOverwrite         = row(ssmActions, 0, "ValidationException", tagsAndOverwrite)
	TooManyUpdates           = row(ssmActions, 0, "TooManyUpdates", tooManyUpdates)
)

const (
	parameterExists = "The parameter already exists. To overwrite this value, set the overwrite option in the " +
		"request to true."
	parameterTooLong = "Standard tier parameters support a maximum parameter value of %d characters. To create a " +
		"larger parameter value, upgrade the parameter to use the advanced-parameter tier."
	tagsAndOverwrite = "tags and overwrite can't be used together."
	tooManyUpdates   = "There are concurrent updates for a resource that supports one update at a time."
)

// Auto Scaling. A template that it cannot launch with is told by EC2's message after its own.
var (
	GroupAlreadyExists          = row(scalingActions, 0, "AlreadyExists", groupExists)
	ActiveInstanceRefreshAbsent = row(scalingActions, 0, "ActiveInstanceRefreshNotFound", noRefresh)
	CapacityOutside             = row(scalingActions, 0, "ValidationError", capacityOutside)
	DesiredConfigurationActive  = row(scalingActions, 0, "ValidationError", desiredConfiguration)
	GroupNotFound               = row(scalingActions, 0, "ValidationError", "AutoScalingGroup name not found - %s")
	InstanceRefreshInProgress   = row(scalingActions, 0, "InstanceRefreshInProgress", refreshInProgress)
	InvalidIAMInstanceProfile   = row(scalingActions, 0, "ValidationError", "Invalid IamInstanceProfile: %s")
	LaunchTemplateInvalid       = row(scalingActions, 0, "ValidationError", templateInvalid)
	ManagedInstanceNotFound     = row(scalingActions, 0, "ValidationError", noManagedInstance)
	GroupInUse                  = row(scalingActions, 0, "ResourceInUse", groupInUse)
)

const (
	groupExists          = "AutoScalingGroup by this name already exists - A group with the name %s already exists"
	noRefresh            = "No in progress or pending Instance Refresh found for Auto Scaling group %s"
	capacityOutside      = "Desired capacity:%d must be between the specified min size:%d and max size:%d"
	desiredConfiguration = "An active instance refresh with a desired configuration exists. All configuration " +
		"options derived from the desired configuration are not available for update while the instance " +
		"refresh is active."
	refreshInProgress = "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh."
	templateInvalid   = "You must use a valid fully-formed launch template. %s"
	noManagedInstance = "Instance Id not found - No managed instance found for instance ID %s"
	groupInUse        = "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance " +
		"request(s) still in the group."
)

// Load balancers.
var (
	AllocationIDNotFound        = row(balancerActions, 0, "AllocationIdNotFound", "The allocation IDs %s do not exist")
	DuplicateListener           = row(balancerActions, 0, "DuplicateListener", listenerExists)
	InvalidConfigurationRequest = row(balancerActions, 0, "InvalidConfigurationRequest", "")
	LoadBalancerNotFound        = row(balancerActions, 0, "LoadBalancerNotFound", noBalancer)
	SubnetNotFound              = row(balancerActions, 0, "SubnetNotFound", "The subnet ID '%s' does not exist")
	TargetGroupInUse            = row(balancerActions, 0, "ResourceInUse", targetGroupInUse)
	TargetGroupNotFound         = row(balancerActions, 0, "TargetGroupNotFound", "One or more target groups not found")
)

const (
	listenerExists   = "A listener already exists on this port for this load balancer '%s'"
	noBalancer       = "One or more load balancers not found"
	targetGroupInUse = "Target group '%s' is currently in use by a listener or a rule"
)

// Of Service Quotas.
var (
	IllegalArgument = row(quotaActions, 0, "IllegalArgumentException", "")
	NoSuchResource  = row(quotaActions, 0, "NoSuchResourceException", "")
)
