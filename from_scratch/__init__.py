"""From scratch: diffusion models and flows with nothing hidden, in plain torch.

Read in this order; each module imports only from those before it, and how a file is
written and a flag is read from ddpm.files and ddpm.command_line:

    noise_schedule  how much noise is added when: beta, alpha, alpha_bar
    diffusion       forward process, loss, posterior, DDPM, DDIM, guidance
    flow            part 3: paths, velocity, loss, Euler, Heun, reflow
    denoisers       the network eps_theta, and a case in which it is known exactly
    datasets        points in the plane, and pictures
    metrics         do two sets of points, or of pictures, come from one distribution?
    training        the training loop, the moving average of weights, the loss at each t

Part 2, pictures:

    unet            the network for pictures, and half of one that names classes
    classifier      a judge of finished pictures, a guide among noisy ones
    image_model     a model of pictures: made, trained, saved, asked for a class

To run, with what it takes to draw and to read flags:

    command_line        types for flags, their ranges, the end by Ctrl-C
    pages.plots         how points, curves and pictures are drawn
    pages.run_pictures  the pictures that a run writes
    train_toy2d         parts 1, 3: python -m from_scratch.train_toy2d
    distill_toy2d       part 3: python -m from_scratch.distill_toy2d
    train_images        parts 2, 3: python -m from_scratch.train_images
    blanks              what the notebooks leave blank for students: is it right?

What draws the pages, each with python -m from_scratch.pages.NAME:

    pages.figures             which figures, and where their numbers go
    pages.experiments         what is trained and drawn more than once
    pages.draw_figures        the figures of part 1
    pages.break_it            seven mistakes to find
    pages.solution_schedules  what a schedule does: the first exercise, solved
    pages.solution_steps      how few steps suffice: the second
    pages.draw_image_figures  the figures of part 2
    pages.solution_flow       both exercises of part 3, solved
    pages.draw_flow_figures   the figures of part 3
    pages.student_notebooks   the notebooks with lines left blank
"""

import ddpm  # noqa: F401  (first: Ctrl-C ends with a sentence while torch is imported)
