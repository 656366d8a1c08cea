// A picture with boxes, as an element of its own.
import { SlPicture } from "sightline-ui";
export default SlPicture;
