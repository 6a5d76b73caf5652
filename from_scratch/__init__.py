"""From scratch: a diffusion model with nothing hidden, in plain torch.

Read in this order; each module imports only from those before it:

    noise_schedule  how much noise is added when: beta, alpha, alpha_bar
    diffusion       forward process, loss, posterior, DDPM, DDIM, guidance
    denoisers       the network eps_theta, and a case in which it is known exactly
    datasets        points in the plane, and pictures
    metrics         do two sets of points, or of pictures, come from one distribution?
    plots           the pictures
    train_toy2d     run it: python -m from_scratch.train_toy2d
    draw_figures    the lesson's figures: python -m from_scratch.draw_figures
    break_it        seven mistakes to find: python -m from_scratch.break_it

Part 2, pictures:

    unet                the network for pictures, and half of one that names classes
    classifier          a judge of finished pictures, a guide among noisy ones
    image_model         a model of pictures: made, trained, saved, asked for a class
    train_images        run it: python -m from_scratch.train_images
    solution_schedules  what a schedule does: the first exercise, solved
    solution_steps      how few steps suffice: the second
    draw_image_figures  figures: python -m from_scratch.draw_image_figures
"""
