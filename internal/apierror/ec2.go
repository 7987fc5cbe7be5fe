package apierror

import "net/http"

// codes is the page that documents EC2's codes.
const codes = "Amazon EC2 API Reference: Error codes for the Amazon EC2 API"

func ec2(code, message string) *Row { return row(codes, http.StatusBadRequest, code, message) }

func server(code, message string) *Row {
	return row(codes, http.StatusInternalServerError, code, message)
}

// Of all actions.
var (
	AuthFailure                 = row(codes, http.StatusForbidden, "AuthFailure", authFailure)
	NotAuthorized               = row(codes, http.StatusForbidden, "AuthFailure", "")
	DryRunOperation             = row(codes, http.StatusPreconditionFailed, "DryRunOperation", dryRun)
	IdempotentParameterMismatch = ec2("IdempotentParameterMismatch", "")
	InvalidAction               = ec2("InvalidAction", "The action %s is not valid for this web service.")
	InvalidCharacter            = ec2("InvalidCharacter", "")
	InvalidParameter            = ec2("InvalidParameter", "")
	InvalidParameterCombination = ec2("InvalidParameterCombination", "")
	InvalidParameterValue       = ec2("InvalidParameterValue", "")
	InvalidRequest              = ec2("InvalidRequest", "")
	MalformedQueryString        = ec2("MalformedQueryString", "")
	MissingAction               = ec2("MissingAction", "")
	MissingInput                = ec2("MissingInput", "")
	MissingParameter            = ec2("MissingParameter", "The request must contain the parameter %s")
	MissingParameters           = ec2("MissingParameter", "")
	OperationNotPermitted       = ec2("OperationNotPermitted", "")
	OptInRequired               = row(codes, http.StatusForbidden, "OptInRequired", "")
	RequestExpired              = ec2("RequestExpired", "Request has expired.")
	UnauthorizedOperation       = row(codes, http.StatusForbidden, "UnauthorizedOperation", unauthorized)
	UnknownParameter            = ec2("UnknownParameter", "The parameter %s is not recognized")
	UnsupportedOperation        = ec2("UnsupportedOperation", "")
)

// Parameters whose value is not right, by what is wrong.
var (
	InvalidValue     = ec2("InvalidParameterValue", "Value (%s) for parameter %s is invalid.")
	InvalidFilter    = ec2("InvalidParameterValue", "The filter '%s' is invalid")
	InvalidMaximum   = ec2("InvalidParameterValue", "Value ( %s ) for parameter maxResults is invalid.")
	InvalidCidrBlock = ec2("InvalidParameterValue", "CIDR block %s is malformed")
	InvalidNextToken = ec2("InvalidNextToken", "")
	InvalidID        = ec2("InvalidID", "The ID '%s' is not valid")
	InvalidRegion    = ec2("InvalidRegion", "")
	InvalidVpcRange  = row(published, 0, "InvalidVpc.Range", "The CIDR '%s' is invalid.")
)

// published is for a code that its service's documentation lacks, and that published answers of the service have.
const published = "answers of the service, as others have published them"

// Faults of the service, and its limits of the rate of calls.
var (
	InternalError        = server("InternalError", "An internal error has occurred")
	InternalFailure      = server("InternalFailure", "")
	RequestLimitExceeded = row(codes, http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded.")
	ServerInternal       = server("ServerInternal", "")
	ServiceUnavailable   = row(codes, http.StatusServiceUnavailable, "ServiceUnavailable", "")
	Unavailable          = row(codes, http.StatusServiceUnavailable, "Unavailable", "")
)

// Want of room for instances.
var (
	InsufficientCapacityOnHost            = ec2("InsufficientCapacityOnHost", "")
	InsufficientFreeAddressesInSubnet     = ec2("InsufficientFreeAddressesInSubnet", noFreeAddresses)
	InsufficientHostCapacity              = server("InsufficientHostCapacity", "")
	InsufficientInstanceCapacity          = server("InsufficientInstanceCapacity", short)
	InsufficientReservedInstanceCapacity  = server("InsufficientReservedInstanceCapacity", "")
	InsufficientReservedInstancesCapacity = ec2("InsufficientReservedInstancesCapacity", "")
	InstanceLimitExceeded                 = ec2("InstanceLimitExceeded", "")
	MaxSpotInstanceCountExceeded          = ec2("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
	ReservationCapacityExceeded           = ec2("ReservationCapacityExceeded", "")
	SpotMaxPriceTooLow                    = ec2("SpotMaxPriceTooLow", "")
	UnfulfillableCapacity                 = ec2("UnfulfillableCapacity", "")
	Unsupported                           = ec2("Unsupported", notInZone)
	VcpuLimitExceeded                     = ec2("VcpuLimitExceeded", vcpuLimit)
)

// Other limits of an account or a resource.
var (
	AddressLimitExceeded          = ec2("AddressLimitExceeded", "The maximum number of addresses has been reached.")
	InsufficientAddressCapacity   = server("InsufficientAddressCapacity", "")
	PrivateIPAddressLimitExceeded = ec2("PrivateIpAddressLimitExceeded", "")
	TagLimitExceeded              = ec2("TagLimitExceeded", "")
	UserDataLimit                 = ec2("InvalidParameterValue", "User data is limited to %d bytes")
	VpcLimitExceeded              = ec2("VpcLimitExceeded", "The maximum number of VPCs has been reached.")
)

const (
	authFailure     = "AWS was not able to validate the provided access credentials"
	dryRun          = "Request would have succeeded, but DryRun flag is set."
	unauthorized    = "You are not authorized to perform this operation."
	noFreeAddresses = "There are not enough free addresses in subnet '%s' to satisfy the requested number of instances."
	notInZone       = "Your requested instance type (%s) is not supported in your requested Availability Zone (%s)."
	short           = "We currently do not have sufficient %s capacity in the Availability Zone you requested (%s). " +
		"Our system will be working on provisioning additional capacity."
	vcpuLimit = "You have requested more vCPU capacity than your current vCPU limit of %d allows for the instance " +
		"bucket that the specified instance type belongs to."
)

// What is not there.
var (
	InvalidAddressNotFound            = ec2("InvalidAddress.NotFound", "Address '%s' not found.")
	InvalidAllocationIDNotFound       = ec2("InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist")
	InvalidAMIIDNotFound              = ec2("InvalidAMIID.NotFound", "The image id '[%s]' does not exist")
	InvalidAMIIDUnavailable           = ec2("InvalidAMIID.Unavailable", "The image ID '%s' is not available")
	InvalidAssociationIDNotFound      = ec2("InvalidAssociationID.NotFound", "The association ID '%s' does not exist")
	InvalidGroupNotFound              = ec2("InvalidGroup.NotFound", "The security group '%s' does not exist")
	InvalidInstanceIDNotFound         = ec2("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist")
	InvalidInternetGatewayIDNotFound  = ec2("InvalidInternetGatewayID.NotFound", noGateway)
	InvalidKeyPairNotFound            = ec2("InvalidKeyPair.NotFound", "The key pair '%s' does not exist")
	InvalidKeyPairIDNotFound          = ec2("InvalidKeyPair.NotFound", "The key pair ID '%s' does not exist")
	InvalidLaunchTemplateIDNotFound   = ec2("InvalidLaunchTemplateId.NotFound", noTemplateID)
	InvalidLaunchTemplateNameNotFound = ec2("InvalidLaunchTemplateName.NotFoundException", noTemplateName)
	InvalidLaunchTemplateNoVersion    = ec2("InvalidLaunchTemplateId.VersionNotFound", noTemplateVersion)
	InvalidNetworkACLIDNotFound       = ec2("InvalidNetworkAclID.NotFound", "The networkAcl ID '%s' does not exist")
	InvalidNetworkInterfaceIDNotFound = ec2("InvalidNetworkInterfaceID.NotFound", noInterface)
	InvalidPermissionNotFound         = ec2("InvalidPermission.NotFound", noPermission)
	InvalidRouteNotFound              = ec2("InvalidRoute.NotFound", noRoute)
	InvalidRouteTableIDNotFound       = ec2("InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist")
	InvalidSecurityGroupRuleNotFound  = ec2("InvalidSecurityGroupRuleId.NotFound", noRule)
	InvalidSnapshotNotFound           = ec2("InvalidSnapshot.NotFound", "The snapshot '%s' does not exist.")
	InvalidSubnetIDNotFound           = ec2("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist")
	InvalidSubnetReservationNotFound  = row(published, 0, noReservationCode, noReservation)
	InvalidVolumeNotFound             = ec2("InvalidVolume.NotFound", "The volume '%s' does not exist.")
	InvalidVpcEndpointIDNotFound      = ec2("InvalidVpcEndpointId.NotFound", noEndpoint)
	InvalidVpcIDNotFound              = ec2("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist")
	NatGatewayNotFound                = ec2("NatGatewayNotFound", "NAT gateway %s was not found")
)

const (
	noGateway         = "The internetGateway ID '%s' does not exist"
	noTemplateID      = "The specified launch template, with template ID %s, does not exist."
	noTemplateName    = "The specified launch template, with template name %s, does not exist."
	noTemplateVersion = "Could not find the specified version %s for the launch template with ID %s."
	noInterface       = "The networkInterface ID '%s' does not exist"
	noPermission      = "The specified rule does not exist in this security group."
	noRoute           = "no route with destination-cidr-block %s in route table %s"
	noRule            = "The security group rule ID '%s' does not exist"
	noReservationCode = "InvalidSubnetCidrReservationID.NotFound"
	noReservation     = "The subnet-cidr-reservation ID '%s' does not exist"
	noEndpoint        = "The Vpc Endpoint Id '%s' does not exist"
)

// malformed is the text for what is no id of the kind that a parameter takes.
const malformed = `Invalid id: "%s" (expecting "%s-...")`

// What is no id.
var (
	InvalidAMIIDMalformed                      = ec2("InvalidAMIID.Malformed", malformed)
	InvalidGroupIDMalformed                    = ec2("InvalidGroupId.Malformed", malformed)
	InvalidInstanceIDMalformed                 = ec2("InvalidInstanceID.Malformed", malformed)
	InvalidInternetGatewayIDMalformed          = ec2("InvalidInternetGatewayId.Malformed", malformed)
	InvalidLaunchTemplateIDMalformed           = ec2("InvalidLaunchTemplateId.Malformed", malformed)
	InvalidNetworkACLIDMalformed               = ec2("InvalidNetworkAclId.Malformed", malformed)
	InvalidNetworkInterfaceAttachmentMalformed = ec2("InvalidNetworkInterfaceAttachmentId.Malformed", malformed)
	InvalidNetworkInterfaceIDMalformed         = ec2("InvalidNetworkInterfaceId.Malformed", malformed)
	InvalidRouteTableIDMalformed               = ec2("InvalidRouteTableId.Malformed", malformed)
	InvalidSecurityGroupRuleIDMalformed        = ec2("InvalidSecurityGroupRuleId.Malformed", malformed)
	InvalidSnapshotIDMalformed                 = ec2("InvalidSnapshotID.Malformed", malformed)
	InvalidSubnetIDMalformed                   = ec2("InvalidSubnetID.Malformed", malformed)
	InvalidVolumeIDMalformed                   = ec2("InvalidVolumeID.Malformed", malformed)
	InvalidVpcEndpointIDMalformed              = ec2("InvalidVpcEndpointId.Malformed", malformed)
	InvalidVpcIDMalformed                      = ec2("InvalidVpcID.Malformed", malformed)
	NatGatewayMalformed                        = ec2("NatGatewayMalformed", malformed)
)

// kinds are the things with ids, in the order of their prefixes.
var kinds = []Kind{
	{"acl", InvalidNetworkACLIDNotFound, InvalidNetworkACLIDMalformed},
	{"ami", InvalidAMIIDNotFound, InvalidAMIIDMalformed},
	{"eipalloc", InvalidAllocationIDNotFound, nil},
	{"eipassoc", InvalidAssociationIDNotFound, nil},
	{"eni", InvalidNetworkInterfaceIDNotFound, InvalidNetworkInterfaceIDMalformed},
	{"eni-attach", nil, InvalidNetworkInterfaceAttachmentMalformed},
	{"i", InvalidInstanceIDNotFound, InvalidInstanceIDMalformed},
	{"igw", InvalidInternetGatewayIDNotFound, InvalidInternetGatewayIDMalformed},
	{"lt", InvalidLaunchTemplateIDNotFound, InvalidLaunchTemplateIDMalformed},
	{"nat", NatGatewayNotFound, NatGatewayMalformed},
	{"rtb", InvalidRouteTableIDNotFound, InvalidRouteTableIDMalformed},
	{"rtbassoc", InvalidAssociationIDNotFound, nil},
	{"scr", InvalidSubnetReservationNotFound, nil},
	{"sg", InvalidGroupNotFound, InvalidGroupIDMalformed},
	{"sgr", InvalidSecurityGroupRuleNotFound, InvalidSecurityGroupRuleIDMalformed},
	{"snap", InvalidSnapshotNotFound, InvalidSnapshotIDMalformed},
	{"subnet", InvalidSubnetIDNotFound, InvalidSubnetIDMalformed},
	{"vol", InvalidVolumeNotFound, InvalidVolumeIDMalformed},
	{"vpc", InvalidVpcIDNotFound, InvalidVpcIDMalformed},
	{"vpce", InvalidVpcEndpointIDNotFound, InvalidVpcEndpointIDMalformed},
}

// Instances, images and volumes.
var (
	IncorrectInstanceState     = ec2("IncorrectInstanceState", "")
	InstanceNotStartable       = ec2("IncorrectInstanceState", notInState)
	IncorrectModificationState = ec2("IncorrectModificationState", "")
	IncorrectState             = ec2("IncorrectState", "")
	InstanceNotRunning         = ec2("IncorrectState", "Instance '%s' is not 'running'.")
	VolumeIncorrectState       = ec2("IncorrectState", "Volume '%s' is in the '%s' state.")
	InvalidAMINameDuplicate    = ec2("InvalidAMIName.Duplicate", "AMI name %s is already in use by AMI %s")
	InvalidBlockDeviceMapping  = ec2("InvalidBlockDeviceMapping", "")
	InvalidInstancePending     = ec2("InvalidInstanceID", pendingInstance)
	InvalidKeyFormat           = ec2("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
	InvalidKeyPairDuplicate    = ec2("InvalidKeyPair.Duplicate", "The keypair already exists")
	InvalidProfileNameUse      = ec2("InvalidParameterValue", profileName)
	InvalidProfileArnUse       = ec2("InvalidParameterValue", profileArn)
	InvalidProfileName         = row(published, 0, "InvalidIamInstanceProfileName", "")
	InvalidSnapshotInUse       = ec2("InvalidSnapshot.InUse", "The snapshot %s is currently in use by %s")
	InvalidTemplateNameExists  = ec2("InvalidLaunchTemplateName.AlreadyExistsException", templateExists)
	InvalidUserDataMalformed   = row(published, 0, "InvalidUserData.Malformed", userData)
	InvalidVolumeZoneMismatch  = ec2("InvalidVolume.ZoneMismatch", zoneMismatch)
	ProfileWithoutRoles        = ec2("InvalidParameterValue", profileWithoutRoles)
	VolumeInUse                = ec2("VolumeInUse", "")
	VolumeAttached             = ec2("VolumeInUse", "%s is already attached to an instance")
	VolumeModificationTooSoon  = row(published, 0, "VolumeModificationRateExceeded", tooSoon)
)

const (
	notInState      = "The instance '%s' is not in a state from which it can be %s."
	pendingInstance = "The pending instance '%s' is not in a valid state for this operation"
	templateExists  = "Launch template name already in use."
	userData        = "Invalid BASE64 encoding of user data."
	zoneMismatch    = "The volume '%s' is not in the same availability zone as instance '%s'"
	profileName     = "Value (%s) for parameter iamInstanceProfile.name is invalid. " +
		"Invalid IAM Instance Profile name"
	profileArn = "Value (%s) for parameter iamInstanceProfile.arn is invalid. " +
		"Invalid IAM Instance Profile ARN"
	profileWithoutRoles = `IAM Instance Profile "%s" has no associated IAM Roles`
	tooSoon             = "You've reached the maximum modification rate per volume limit. Wait at least 6 hours " +
		"between modifications per EBS volume."
)

// The network.
var (
	AddressAssigned            = ec2("InvalidParameterValue", "[%s] assigned, but move is not allowed.")
	CannotDeleteDefaultGroup   = ec2("CannotDelete", defaultGroup)
	DependencyViolation        = ec2("DependencyViolation", "resource %s has a dependent object")
	HasDependencies            = ec2("DependencyViolation", "The %s '%s' has dependencies and cannot be deleted.")
	GatewayNotAttached         = ec2("Gateway.NotAttached", "resource %s is not attached to network %s")
	InvalidGroupDescription    = ec2("InvalidParameterValue", groupDescription)
	InvalidGroupDuplicate      = ec2("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'")
	InvalidIPAddressInUse      = ec2("InvalidIPAddress.InUse", "Address %s is in use.")
	InvalidPermissionDuplicate = ec2("InvalidPermission.Duplicate", "the specified rule \"%s\" already exists")
	AlreadyAssociated          = ec2("Resource.AlreadyAssociated", "resource %s is already associated with %s")
	AddressAlreadyAssociated   = ec2("Resource.AlreadyAssociated", addressAssociated)
	GatewayAlreadyAttached     = ec2("Resource.AlreadyAssociated", "resource %s is already attached to network %s")
	ReservationOutside         = ec2("InvalidParameterValue", reservationOutside)
	ReservationOverlaps        = ec2("InvalidParameterValue", reservationOverlaps)
	RouteAlreadyExists         = ec2("RouteAlreadyExists", "The route identified by %s already exists.")
)

const (
	groupDescription = "Value (%s) for parameter GroupDescription is invalid. Character sets beyond ASCII are not " +
		"supported."
	defaultGroup        = `the specified group: "%s" name: "default" cannot be deleted by a user`
	addressAssociated   = "resource %s is already associated with associate-id %s"
	reservationOutside  = "Reservation CIDR should be within subnet CIDR block (%s)"
	reservationOverlaps = "Reservation CIDR %s has overlap with existing reserved CIDR block"
)
