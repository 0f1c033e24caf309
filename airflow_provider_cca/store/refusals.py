"""Tell what a store's error means by its code: whether trying again can help, and what to check. No I/O."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

_CREDENTIALS = "check the credentials in its connection"
_PLACE = "check that the destination exists: its bucket, container or folder has to be there"
_REGION = "check the region and the endpoint in its connection"
_RIGHTS = "check that this account may list, read and write there"
_NAME = "no object can have this name there"
_GENERAL = "check that the destination exists and that this worker may write there"

_FINAL = {
    code: hint
    for hint, codes in {
        _CREDENTIALS: (
            "NoCredentialsError PartialCredentialsError CredentialRetrievalError TokenRetrievalError "
            "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken ExpiredToken InvalidClientTokenId "
            "UnrecognizedClientException RequestTimeTooSkewed "
            "AuthenticationFailed InvalidAuthenticationInfo NoAuthenticationInformation "  # Azure
            "KeyBasedAuthenticationNotPermitted ClientAuthenticationError "
            "DefaultCredentialsError RefreshError Unauthorized "  # Google
            "PermissionDenied HostKeyNotVerifiable KeyImportError"  # SSH
        ),
        _PLACE: (
            "NoSuchBucket InvalidBucketName NoSuchKey ParamValidationError "
            "ContainerNotFound BlobNotFound ContainerDisabled InvalidResourceName "
            "NotFound "
            "SFTPNoSuchFile SFTPNoSuchPath"
        ),
        _REGION: "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException",
        _RIGHTS: (
            "AccessDenied AllAccessDisabled MethodNotAllowed 403 "
            "AuthorizationFailure AuthorizationPermissionMismatch InsufficientAccountPermissions "
            "AuthorizationSourceIPMismatch PublicAccessNotPermitted AccountIsDisabled "
            "Forbidden "
            "SFTPPermissionDenied SFTPWriteProtect"
        ),
        _NAME: "ValueError UnicodeEncodeError KeyTooLongError",
        _GENERAL: "FileNotFoundError NotADirectoryError IsADirectoryError FileExistsError PermissionError",
    }.items()
    for code in codes.split()
}
"""Class or code of the errors that no repetition cures -> what to check."""

_FINAL_NUMBERS = {errno.EROFS, errno.EACCES, errno.EPERM}

_FULL = {errno.ENOSPC, errno.EDQUOT}

_ABSENT = {"FileNotFoundError", "NoSuchKey", "404", "BlobNotFound", "NotFound", "SFTPNoSuchFile"}

CONDITION_FAILED = {
    "PreconditionFailed",
    "412",
    "ConditionNotMet",
    "BlobAlreadyExists",
    "TargetConditionNotMet",
}
"""The object is there though it must not be, or is another one than the condition says."""


def hint_for(error: BaseException) -> str | None:
    """Return what to check when trying again cannot help, as with a read-only disk; None when it can."""
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in _FINAL_NUMBERS:
            return _RIGHTS
        if isinstance(each, OSError) and each.errno in {errno.ENAMETOOLONG, errno.EILSEQ}:
            return _NAME
        for code in codes_of(each):
            if code in _FINAL:
                return _FINAL[code]
        if isinstance(each, (FileNotFoundError, PermissionError)):
            return _GENERAL
    return None


def is_full(error: BaseException) -> bool:
    """Return whether a disk, or somebody's share of it, has no space left."""
    return any(isinstance(each, OSError) and each.errno in _FULL for each in _chain(error))


def is_absent(error: BaseException | None) -> bool:
    """Return whether the store answered that there is no such object."""
    return isinstance(error, FileNotFoundError) or bool(error and codes_of(error) & _ABSENT)


def is_condition_failed(error: BaseException) -> bool:
    """Return whether the store has done nothing because the object was not as the condition says."""
    return bool(codes_of(error) & CONDITION_FAILED)


def codes_of(error: BaseException) -> set[str]:
    """Return what the store and its client call an error: the class, and the code of the answer."""
    answer: Any = getattr(error, "response", None)  # of boto3
    s3 = answer.get("Error", {}).get("Code") if isinstance(answer, dict) else None
    azure = getattr(error, "error_code", None)
    azure = getattr(azure, "value", azure)
    return {type(error).__name__, *(str(code) for code in (s3, azure) if code)}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was made of: filesystems wrap what their clients raise."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__
