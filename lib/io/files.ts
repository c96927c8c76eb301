// Everything that reads or writes a file comes through here.
export { checkReadable, openRegular, readBytes } from "./read.js";
export { fileError, fileSystemError, type Source, shownName, shownPath, sourceOf } from "./source.js";
export { checkWritable, realTarget, writeAtomically } from "./write.js";
